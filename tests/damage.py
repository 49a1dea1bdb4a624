"""Damages specs and weights files at random, and says what becomes of reading them."""

import math
import random
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from resnetgen.diagnostics import DiagnosticError
from resnetgen.ir.network import Network
from resnetgen.ir.rules import Shape, network_parameters
from resnetgen.lower import feasibility, lower
from resnetgen.spec.canonical import to_yaml
from resnetgen.spec.load import bundled, load
from resnetgen.weights.infer import infer, renamed
from resnetgen.weights.load import loaded
from resnetgen.weights.open import opened

LARGEST_FILE = 20_000
"""In bytes: longer corpus files would be damaged in what they repeat."""
PIECES = (b"0", b"-1", b"1e9", b"null", b"[", b"]", b"{", b"}", b": ", b"\n", b"- ", b"\t", b"&a ",
         b"*a", b"!!int ", b"'", b'"', b"#", b"<<: ", b"\xc3\xa9", b"\xff", b"\x00", b"..", b"%",
         b"stages", b"extends: resnet18\n", b"depth: 50\n", b"true", b"NaN", b"0x10",
         b"1_0")  # fmt: skip
"""What is put in: most of it means something in YAML or in the language."""

SMALL = "resnet20"
_THIN = ("stem.width=1", *(f"stages.{index}.width=1" for index in range(3)))
_KINDS = ((), ("attention=se",), ("attention=eca",), ("block=bottleneck",), ("order=pre",))
CHANGES = tuple((*_THIN, *kind) for kind in _KINDS)
"""What makes small networks of that, of several kinds."""
FLAX_CHANGES = tuple(
    (*_THIN, "dialect=flax", f"block={block}") for block in ("basic", "bottleneck")
)
"""And those that Flax's example has names for."""
Finding = dict[str, str]
Table = dict[str, Shape]


def damaged(original: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """The bytes with one to four changes: flipped, cut, doubled, put in, or exchanged."""
    data = bytearray(original)
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(data) + 1)
        end = min(len(data), start + chance.choice((1, 1, 2, 4, 16, 64)))
        match chance.randrange(6):
            case 0 if data:
                data[start % len(data)] ^= 1 << chance.randrange(8)
            case 1:
                del data[start:end]
            case 2:
                data[start:start] = data[start:end]
            case 3:
                data[start:end] = chance.choice(PIECES)
            case 4:
                data[start:start] = chance.choice(PIECES)
            case _:
                other = chance.choice(others)
                data[start:end] = other[start:end]
    return bytes(data)


def read_spec(path: Path) -> str:
    """What became of a spec; anything but a diagnostic or a meaning is raised."""
    try:
        spec = load(str(path)).spec
    except DiagnosticError as error:
        return _refused(error)
    problems = list(feasibility.problems(spec))
    again = path.with_name("again.yaml")
    again.write_text(to_yaml(spec))
    assert load(str(again)).spec == spec, "the resolved spec means something else"
    return "refused" if problems else "valid"


def read_weights(path: Path) -> str:
    """What became of a weights file, read as `infer` reads it."""
    try:
        with opened(path, batch_norm=False) as file:
            shapes = file.shapes
        known = renamed(shapes)
        infer(shapes if known is None else known.shapes, name="found")
    except DiagnosticError as error:
        return _refused(error)
    return "valid"


def read_as(networks: Sequence[Network], path: Path) -> str:
    """What became of it as the weights of one of these networks, read as `convert` reads them."""
    refused = ""
    for network in networks:
        try:
            with loaded(path, network, origin=None, seed=None) as found:
                for _ in found.tensors():
                    pass
            return "valid"
        except DiagnosticError as error:
            refused = _refused(error)
    return refused


def _refused(error: DiagnosticError) -> str:
    """`unforeseen` where nothing but a library's own words was left to say."""
    said = error.render()
    if not all(line.isprintable() for line in said.splitlines()):
        raise ValueError(said) from error
    if error.diagnostics[0].code == "exhausted":
        raise MemoryError(said) from error
    return "unforeseen" if ": error: cannot be read: " in said else "refused"


def damage(
    what: str,
    suffix: str,
    make: Callable[[random.Random], bytes],
    read: Callable[[Path], str],
    *,
    count: int,
    random_seed: int,
) -> tuple[Counter[str], list[Finding]]:
    """Damages files `count` times, and reads each; how often it was what, and what was neither."""
    chance = random.Random(random_seed)
    outcomes: Counter[str] = Counter()
    found: list[Finding] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"damaged{suffix}")
        for _ in range(count):
            data = make(chance)
            path.write_bytes(data)
            try:
                outcomes[read(path)] += 1
            except Exception:
                outcomes["finding"] += 1
                found.append({"of": what, "what": f"{traceback.format_exc()}\n{data!r}"})
    return outcomes, found


def spec_corpus() -> list[bytes]:
    """The bundled specs, those that are invalid in a known way, and all that is resolved."""
    bad = Path(__file__).parent / "invalid_specs"
    texts = [path.read_bytes() for path in sorted(bad.glob("*.yaml"))]
    for name in bundled():
        spec = load(name)
        texts += [Path(spec.path).read_bytes(), to_yaml(spec.spec).encode()]
    return [text for text in texts if len(text) <= LARGEST_FILE]


def tables() -> list[Table]:
    """The names and shapes of small networks' tensors."""
    networks = map(small, CHANGES)
    return [{each.name: each.shape for each in network_parameters(network)} for network in networks]


def small(changes: Sequence[str]) -> Network:
    """The small network with these changes."""
    return lower(load(SMALL, overrides=changes).spec)


def weights_of(table: Table) -> bytes:
    """A file with tensors that no image is hidden by."""
    return save(
        {
            name: np.linspace(0.5, 1.5, math.prod(shape), dtype=np.float32).reshape(shape)
            for name, shape in table.items()
        }
    )


def other_table(table: Table, chance: random.Random) -> Table:
    """The table with a few names or shapes changed, as one of another network has them, or none."""
    found = dict(table)
    for _ in range(chance.randint(1, 3)):
        names = list(found)
        if not names:
            break
        name = chance.choice(names)
        shape = found[name]
        match chance.randrange(7):
            case 0:
                del found[name]
            case 1:
                found[_renumbered(name, chance)] = shape
            case 2:
                found[_renumbered(name, chance)] = found.pop(name)
            case 3 if shape:
                axis = chance.randrange(len(shape))
                extent = chance.choice((0, 1, 2, 3, shape[axis] + 1, 2 * shape[axis], 7))
                found[name] = (*shape[:axis], extent, *shape[axis + 1 :])
            case 4:
                found[name] = chance.choice((shape[1:], (*shape, 1), (*shape, 3), shape[::-1]))
            case 5:
                other = chance.choice(names)
                found[name], found[other] = found[other], shape
            case _:
                start = name[: chance.randint(1, len(name))]
                found = {each: found[each] for each in names if not each.startswith(start)}
    return found


def _renumbered(name: str, chance: random.Random) -> str:
    """The name with another number in it, or with a word of another's."""
    digits = [place for place, each in enumerate(name) if each.isdigit()]
    if digits and chance.random() < 0.7:
        place = chance.choice(digits)
        return f"{name[:place]}{chance.choice((0, 1, 2, 3, 5, 9, 10, 10**6))}{name[place + 1 :]}"
    words = ("conv1", "bn1", "downsample.0", "downsample.1", "se.fc1", "conv", "attn", "0", "fc")
    parts = name.split(".")
    parts[chance.randrange(len(parts))] = chance.choice(words)
    return ".".join(parts)
