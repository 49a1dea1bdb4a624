"""Writes a network's weights as a framework's own file, and proves that the framework reads them.

The file is loaded into the generated model in the framework's own process, and what that computes
is compared with what the interpreter does. Only a file that passed is put in its place.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resnetgen.child.framework import missing
from resnetgen.child.task import Task, perform
from resnetgen.convert.formats import FORMATS
from resnetgen.diagnostics import DiagnosticError, Span, printable
from resnetgen.emit import targets
from resnetgen.ir.network import Network
from resnetgen.scratch import scratch_folder
from resnetgen.verify.cases import Case
from resnetgen.verify.compare import Difference, compare, describe, part
from resnetgen.verify.cores import cores
from resnetgen.verify.dtypes import Dtype
from resnetgen.verify.prepare import telling_case
from resnetgen.verify.reference import Array
from resnetgen.verify.runners.registry import runner, unavailable
from resnetgen.verify.stored import StoredError, read
from resnetgen.weights.file import write
from resnetgen.weights.layout import WEIGHTS_FILE, layout
from resnetgen.weights.load import LoadedWeights
from resnetgen.whole_file import replaced

_LARGEST_GRAPH = 2**31 - 1
"""In bytes: more does not fit into one protocol buffer."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What became of it: the file is there unless `failure` says what is wrong with it."""

    difference: Difference | None
    failure: str | None


@dataclass(frozen=True, slots=True)
class _Expected:
    """What the interpreter computes of a case's image, and how much rounding grows on the way.

    Behind a softmax it is the logarithms that are compared: of a logit far below the largest it
    gives next to nothing. `scale` is then that of the logits, whose growth it is.
    """

    case: Case
    output: Array
    growth: float
    scale: float | None

    def comparable(self, output: Array) -> Array:
        """What there is to compare of an output."""
        if self.scale is None:
            return output
        with np.errstate(divide="ignore"):
            return np.log(output)


def installed_runner(target: str) -> tuple[str | None, str]:
    """The runner that a conversion to this target uses; or None, and what is not installed."""
    reasons: list[str] = []
    requires = FORMATS[target].requires
    for name in FORMATS[target].runners:
        reason = unavailable(name) if requires is None else missing(requires)
        if reason is None:
            return name, ""
        reasons.append(reason)
    return None, reasons[0]


def convert(
    loaded: LoadedWeights,
    out: Path,
    *,
    target: str,
    runner_name: str,
    seed: int,
    timeout: float,
    force: bool,
) -> Conversion:
    """Converts the weights to the file `out`; nothing is written where they turn out wrong, or,
    without `force`, where a file is there by then."""
    network = loaded.network
    _refuse_too_large(network, out, target)
    with scratch_folder() as scratch:
        weights = scratch / WEIGHTS_FILE
        write(weights, layout(network), tensors=loaded.tensors())
        expected = _expected(network, weights, seed, file=loaded.checkpoint.file)
        if isinstance(expected, str):
            return Conversion(None, f"nothing can be proven: {expected}")
        for file, content in targets()[target].emit(network).items():
            (scratch / file).write_bytes(content)
        image = scratch / "image.npy"
        np.save(image, expected.case.image)
        record = runner(runner_name)
        assert record.file is not None, f"{runner_name} runs no file of ours"
        # The first of its endings says which kind of file it is; the rest of its name does not.
        ending = next(e for e in FORMATS[target].endings if out.name.lower().endswith(e))
        written, output = scratch / f"converted{ending}", scratch / "output.npy"
        whole = scratch / "whole.npy"
        arguments = {
            "model": str(scratch / record.file),
            "weights": str(weights),
            "out": str(written),
            "image": str(image),
            "output": str(output),
            "whole": str(whole),
        }
        task = Task(FORMATS[target].writer, arguments, record.environment)
        outcome = perform(task, scratch, timeout=timeout, threads=cores())
        if outcome.state != "done":
            return Conversion(None, printable(outcome.reason))
        dtype: Dtype = "float64" if outcome.answer["dtype"] == "float64" else "float32"
        difference, failure = _compared(output, expected, dtype)
        if failure is None and whole.exists() and "float32" in expected.case.dtypes:
            _, failure = _compared(whole, expected, "float32")
        if failure is not None:
            return Conversion(difference, failure)
        with replaced(out, is_new=not force) as temporary:
            shutil.copyfile(written, temporary)
    return Conversion(difference, None)


def _compared(
    output: Path, expected: _Expected, dtype: Dtype
) -> tuple[Difference | None, str | None]:
    """How far a file's output is off, and what to say where that is too far, or proves nothing."""
    if dtype not in expected.case.dtypes:
        return None, f"nothing can be proven: these weights leave the range of {dtype}"
    actual = expected.comparable(np.load(output))
    right = expected.comparable(expected.output)
    difference = compare(actual, right, dtype=dtype, growth=expected.growth, scale=expected.scale)
    if difference.passed:
        return difference, None
    if difference.proves_nothing:
        moved = f"rounding to {dtype} alone may move the output by {part(difference.rounding)}"
        return difference, f"nothing can be proven: {moved}"
    return difference, f"the output {describe(actual, right, difference)}"


def _refuse_too_large(network: Network, out: Path, target: str) -> None:
    size = layout(network).size
    if target == "onnx" and size > _LARGEST_GRAPH:
        message = f"would take {size:,} bytes, and an ONNX file alone holds {_LARGEST_GRAPH:,}"
        hint = "`resnetgen build --weights` writes a graph beside its weights"
        place = Span.of_file(str(out))
        raise DiagnosticError.of("too-large", message, place, hint=hint)


def _expected(network: Network, weights: Path, seed: int, *, file: str) -> _Expected | str:
    """What is right; or why that would tell nothing of the weights."""
    try:
        stored = read(weights, network)
        known = telling_case(network, stored, seed=seed)
    except StoredError as error:
        # It speaks of the copy that was made here.
        message = str(error).removeprefix(f"{WEIGHTS_FILE}: ")
        raise DiagnosticError.of("bad-values", message, Span.of_file(file)) from error
    if known is None:
        return "the softmax gives 0 or 1, whatever comes before it"
    output = known.values[network.head[-1].name]
    if not np.ptp(known.values[network.logits], axis=0).any():
        return "these weights give the same for every image"
    scale = None
    if network.gives_probabilities:
        scale = float(np.abs(known.values[network.logits]).max())
    return _Expected(known.case, output, known.growths[network.logits], scale)
