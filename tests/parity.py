"""Holds the bundled networks against other people's: `python tests/parity.py [NAME...] [--write]`.

Each of their models is built with weights and statistics drawn at random. The PyTorch source of the
bundled spec of that name takes the state_dict of torchvision's or timm's strictly, and of
torchvision's RegNets, keras.applications, Flax's ImageNet example and, where they are installed,
KerasHub and Hugging Face's transformers what is read from a file of their weights. It must then
give the same output: in float64 to 1e-10 of its scale, and in float32 to a hundred roundings times
their measured growth.

Caffe's, pycls's and mmpretrain's models are not installed: of them there are names and shapes only,
from their public sources, and ours is held to those.
"""

import argparse
import copy
import gc
import math
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import caffe_peer
import names_peer
import numpy as np
from keras_peer import KERAS, KERAS_HUB
from peers import computed, torchvision_models
from safetensors.numpy import save_file
from versions import versions

from generated import import_file
from resnetgen.diagnostics import DiagnosticError
from resnetgen.emit import source
from resnetgen.ir.network import Network
from resnetgen.ir.rules import unfit_op
from resnetgen.ir.summary import total
from resnetgen.pipeline import compile_spec
from resnetgen.spec.load import bundled
from resnetgen.verify.compare import bound
from resnetgen.weights.layout import layout
from resnetgen.weights.load import loaded
from resnetgen.weights.safetensors import COUNTER

EXACT = 1e-10
"""How far an output may lie from the peer's in float64, as a part of its largest entry."""
SIZES = ((96, 96), (97, 97), (96, 129))
"""Even, odd and not square: heights and widths to try, or the next that the network takes."""
MOVED = 2.0**-26
OPTIONAL = ("keras_hub", "transformers")
"""What is compared where it is installed."""
RESULTS = Path(__file__).parent.parent / "docs" / "results" / "parity.md"
COMMAND = "python tests/parity.py --write"
HEADINGS = ("network", "peer", "names", "params", "float64", "float32")


@dataclass(frozen=True)
class Peer:
    """Somebody else's network, which is also bundled here."""

    name: str
    library: str
    build: Callable[[], Any]
    origin: str | None = None
    """By whose names its weights are read; None where they are ours."""
    spec: str | None = None
    """The bundled spec, where that has another name."""

    @property
    def names(self) -> str:
        return "strict" if self.origin is None else "read"

    def parity(self) -> "Parity":
        return parity(self)


@dataclass(frozen=True)
class FarPeer:
    """A network of another framework, which runs in a process of its own."""

    name: str
    library: str
    program: str
    """What runs there."""
    file: str
    """Where it leaves the weights."""
    origin: str
    """By whose names they are read."""
    spec: str
    """The bundled spec, and behind it what makes it this network."""
    overrides: tuple[str, ...] = ()
    names: str = "read"

    def parity(self) -> "Parity":
        return far_parity(self)


@dataclass(frozen=True)
class NamesPeer:
    """A network of which only the names and shapes of its tensors are known here."""

    name: str
    library: str
    """Whose names they are; Caffe's are no format that is read."""
    listing: names_peer.Listing
    names: str = "names only"

    @property
    def spec(self) -> str:
        return self.listing.spec

    def parity(self) -> "NamesParity":
        return names_parity(self)


@dataclass(frozen=True)
class Parity:
    """What was found; differences are parts of the peer's largest output."""

    params: int
    double: float
    single: float
    single_bound: float

    @property
    def holds(self) -> bool:
        return self.double <= EXACT and self.single <= self.single_bound

    @property
    def figures(self) -> tuple[str, ...]:
        """Both differences, and the bounds where they do not hold."""
        end = () if self.holds else (f"more than {EXACT:.0e} or {self.single_bound:.1e}",)
        return (f"{self.double:.1e}", f"{self.single:.1e}", *end)


@dataclass(frozen=True)
class NamesParity:
    """The names and shapes were the same; there is no output to compare."""

    params: int
    holds: bool = True
    figures: tuple[str, ...] = ()


AnyPeer = Peer | FarPeer | NamesPeer


@dataclass(frozen=True)
class Row:
    """A line of the table: a network, and what came of it or why it failed."""

    peer: AnyPeer
    found: Parity | NamesParity | str

    @property
    def holds(self) -> bool:
        return not isinstance(self.found, str) and self.found.holds

    @property
    def cells(self) -> tuple[str, ...]:
        """What stands below each of `HEADINGS`, and perhaps a remark behind."""
        names = (self.peer.name, self.peer.library)
        if isinstance(self.found, str):
            return (*names, f"failed: {self.found}")
        return (*names, self.peer.names, f"{self.found.params:,}", *self.found.figures)


def peers() -> dict[str, Peer]:
    """torchvision's ResNets and RegNets and all of timm's resnet.py, by the names of their rows."""
    models = torchvision_models()
    import timm

    origins = {"torchvision.models.resnet": None, "torchvision.models.regnet": "torchvision_regnet"}
    found = {
        name: Peer(name, "torchvision", lambda name=name: getattr(models, name)(), origins[module])
        for name in models.list_models(module=models)
        if (module := models.get_model_builder(name).__module__) in origins
    }
    for name in timm.list_models(module="resnet"):
        # Of a name that both have, each library's network is compared with ours.
        row = f"timm/{name}" if name in found else name
        found[row] = Peer(row, "timm", lambda name=name: timm.create_model(name), spec=name)
    return found


def parity(peer: Peer) -> Parity:
    """Compares the peer with ours; raises where its names or shapes are not ours."""
    import torch

    torch.manual_seed(0)
    network = compile_spec(peer.spec or peer.name).network
    theirs = peer.build()
    randomize(theirs)
    ours = built(network)
    if peer.origin is None:
        ours.load_state_dict(theirs.state_dict(), strict=True)
    else:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "peer.pth")
            torch.save(theirs.state_dict(), file)
            load_read(ours, file, network, origin=peer.origin)
    params = sum(parameter.numel() for parameter in theirs.parameters())
    assert params == total(network).trainable, f"{peer.name}: {params} parameters"
    images = [torch.randn(1, 3, *size) for size in sizes(network)]
    theirs.eval()
    with torch.inference_mode():
        single = [theirs(image) for image in images]
        theirs.double()
        double = [theirs(image.double()) for image in images]
    del theirs
    return compared(ours, images, single, double)


def keras_peers() -> dict[str, FarPeer]:
    """All of keras.applications, and of KerasHub where it is installed, by name."""
    file = ("keras_peer.py", "peer.weights.h5")
    logits = ("output=logits",)
    found = {
        name: FarPeer(name, "keras.applications", *file, "keras_applications", name, logits)
        for name in KERAS
    }
    if find_spec("keras_hub") is None:
        return found
    for name in KERAS_HUB:
        _, *kind, depth = name.split("_")
        spec = f"resnet{depth}d" if kind == ["vd"] else f"resnet{depth}"
        overrides = ("order=pre", "stem.norm=false") if kind == ["v2"] else ()
        found[name] = FarPeer(name, "KerasHub", *file, "keras_hub", spec, overrides)
    return found


def flax_peers() -> dict[str, FarPeer]:
    """The networks of Flax's ImageNet example, by the names that they have here."""
    file = ("linen_peer.py", "peer.msgpack")
    return {
        name: FarPeer(name, "Flax's example", *file, "flax", name)
        for name in (f"flax_resnet{depth}" for depth in (18, 34, 50, 101, 152, 200))
    }


def transformers_peers() -> dict[str, Peer]:
    """The ResNets of Hugging Face's transformers, where it is installed, by the hub's names."""
    if find_spec("transformers") is None:
        return {}
    # It imports torchvision, which may need help.
    torchvision_models()
    from transformers import ResNetConfig, ResNetForImageClassification

    class Logits(ResNetForImageClassification):  # type: ignore[misc]
        def forward(self, image: Any) -> Any:
            return super().forward(image).logits

    def build(layer_type: str, depths: list[int], sizes: list[int]) -> Any:
        config = ResNetConfig(layer_type=layer_type, depths=depths, hidden_sizes=sizes)
        config.num_labels = 1000
        return Logits(config)

    basic, bottleneck = [64, 128, 256, 512], [256, 512, 1024, 2048]
    configs = {
        18: ("basic", [2, 2, 2, 2], basic),
        34: ("basic", [3, 4, 6, 3], basic),
        50: ("bottleneck", [3, 4, 6, 3], bottleneck),
        101: ("bottleneck", [3, 4, 23, 3], bottleneck),
        152: ("bottleneck", [3, 8, 36, 3], bottleneck),
    }
    return {
        f"microsoft/resnet-{depth}": Peer(
            f"microsoft/resnet-{depth}",
            "transformers",
            lambda config=config: build(*config),
            "transformers",
            f"resnet{depth}",
        )
        for depth, config in configs.items()
    }


def names_peers() -> dict[str, NamesPeer]:
    """The networks of libraries that cannot be installed here."""
    return {
        f"{library}/{name}": NamesPeer(f"{library}/{name}", library, listing)
        for library in ("caffe", "pycls", "mmpretrain")
        for name, listing in names_peer.listings(library).items()
    }


def far_parity(peer: FarPeer) -> Parity:
    """The same for a model of another framework, whose file of weights is read as a user's is."""
    import torch

    torch.manual_seed(0)
    network = compile_spec(peer.spec, overrides=peer.overrides).network
    images = [torch.randn(1, 3, *size) for size in sizes(network)]
    ours = built(network)
    arrays = [image.numpy() for image in images]
    with tempfile.TemporaryDirectory() as folder:
        theirs = computed(peer.program, peer.name, Path(folder), arrays, peer.file)
        load_read(ours, Path(folder, peer.file), network, origin=peer.origin)
    assert theirs.params == total(network).trainable, f"{peer.name}: {theirs.params} parameters"
    single = [torch.from_numpy(value) for value in theirs.single]
    return compared(ours, images, single, [torch.from_numpy(value) for value in theirs.double])


def names_parity(peer: NamesPeer) -> NamesParity:
    """Gives our model a file of tensors of these names and shapes, which is read as a user's is."""
    network = compile_spec(peer.spec, overrides=peer.listing.overrides).network
    if peer.library == "caffe":
        params = caffe_peer.hold(peer.listing, network)
    else:
        shapes = names_peer.tensors(peer.listing)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "peer.safetensors")
            save_file(names_peer.drawn(shapes), file)
            load_read(built(network), file, network, origin=peer.library)
        params = names_peer.trainable(shapes)
    assert params == total(network).trainable, f"{peer.name}: {params} parameters"
    return NamesParity(params)


def load_read(ours: Any, file: Path, network: Network, *, origin: str) -> None:
    """Gives our model the weights of a file, which is read as a user's is."""
    import torch

    with loaded(file, network, origin=None, seed=None) as found:
        assert found.format == origin, f"{network.name}: read as {found.format}"
        tensors = zip(layout(network).entries, found.tensors(), strict=True)
        state = {entry.name: torch.from_numpy(np.array(each)) for entry, each in tensors}
    left = ours.load_state_dict(state, strict=False)
    # What counts batches is no weight.
    missing = [key for key in left.missing_keys if not key.endswith(COUNTER)]
    assert not left.unexpected_keys, f"{network.name}: {left.unexpected_keys}"
    assert not missing, f"{network.name}: {missing}"


def compared(
    ours: Any, images: Sequence[Any], single: Sequence[Any], double: Sequence[Any]
) -> Parity:
    """Our model with the peer's weights beside what the peer computes in both precisions."""
    import torch

    ours.eval()
    params = sum(parameter.numel() for parameter in ours.parameters())
    with torch.inference_mode():
        pairs = zip(images, single, strict=True)
        in_single = max(difference(ours(image), value) for image, value in pairs)
        ours.double()
        pairs = zip(images, double, strict=True)
        in_double = max(difference(ours(image.double()), value) for image, value in pairs)
        growth = growth_of_rounding(ours, images[0].double())
    return Parity(params, in_double, in_single, bound("float32", growth=growth))


def built(network: Network) -> Any:
    """The model of the generated PyTorch source."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model_torch.py")
        path.write_text(source(network, "torch"))
        module = import_file(path)
    return getattr(module, network.name)()


def randomize(model: Any) -> None:
    """Draws gammas of both signs, and statistics around those that a batch really has.

    Purely random statistics would blow a deep network up.
    """
    import torch

    kinds = (torch.nn.BatchNorm2d, torch.nn.GroupNorm)
    for norm in (module for module in model.modules() if isinstance(module, kinds)):
        signs = torch.randint(0, 2, norm.weight.shape) * 2 - 1
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5).data.mul_(signs)
        torch.nn.init.normal_(norm.bias, std=0.3)
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    model.train()
    with torch.no_grad():
        model(torch.randn(4, 3, 96, 96))
        for norm in norms:
            deviation = norm.running_var.sqrt()
            norm.running_mean += 0.3 * deviation * torch.randn_like(deviation)
            norm.running_var *= torch.empty_like(deviation).uniform_(0.5, 2.0)


def sizes(network: Network) -> Iterator[tuple[int, int]]:
    """Sizes that fit the network's shortcuts: with an average pool, not every odd one does."""
    for height, width in SIZES:
        while unfit_op(network, (height, height)) is not None:
            height += 2
        while unfit_op(network, (width, width)) is not None:
            width += 1
        yield height, width


def difference(actual: Any, expected: Any) -> float:
    """The largest difference as a part of the largest expected entry; infinite if one is NaN."""
    found = float((actual - expected).abs().max() / expected.abs().max())
    return math.inf if math.isnan(found) else found


def growth_of_rounding(model: Any, image: Any) -> float:
    """By how much more the output changes than the weights do, where all are moved a little."""
    import torch

    before = model(image)
    moved = copy.deepcopy(model)
    for tensor in (*moved.parameters(), *moved.buffers()):
        if tensor.is_floating_point():
            tensor.mul_(1 + MOVED * torch.randn_like(tensor))
    growth = difference(moved(image), before) / MOVED
    assert math.isfinite(growth), "what the model gives is no number"
    return max(1.0, growth)


def rows(chosen: Iterable[AnyPeer]) -> Iterator[Row]:
    """Compares each, one at a time."""
    for peer in chosen:
        try:
            yield Row(peer, peer.parity())
        except (AssertionError, RuntimeError, DiagnosticError) as error:
            yield Row(peer, str(error).splitlines()[0])
        gc.collect()


def report(chosen: Iterable[AnyPeer]) -> list[Row]:
    """Prints a line for each network as it is done, and what they come to."""
    print(line(HEADINGS))
    done: list[Row] = []
    for row in rows(chosen):
        print(line(row.cells), flush=True)
        done.append(row)
    print("\n".join(summary(done)))
    return done


def line(cells: Iterable[str]) -> str:
    widths = ("30", "18", "10", ">12", ">8", ">8", "")
    return " ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=False))


def summary(done: Iterable[Row]) -> Iterator[str]:
    """How many of each library's networks agree, and in what."""
    libraries: dict[str, list[Row]] = {}
    for row in done:
        libraries.setdefault(row.peer.library, []).append(row)
    for library, of_library in libraries.items():
        held = sum(row.holds for row in of_library)
        what = " in names and shapes" if isinstance(of_library[0].peer, NamesPeer) else ""
        yield f"{library}: {held} of {len(of_library)} agree{what}"


def document(done: Sequence[Row]) -> str:
    """All of it as a page, with what is needed to find it again."""
    modules = ("torch", "torchvision", "timm", "tensorflow", "keras", *OPTIONAL, "jax", "flax")
    table = [HEADINGS, ("---",) * len(HEADINGS), *(row.cells for row in done)]
    lines = "\n".join(f"| {' | '.join(cells)} |" for cells in table)
    listed = "\n".join(f"- {each}" for each in summary(done))
    return (
        "# Parity\n\n"
        "The bundled networks beside other people's of these names, with weights and statistics "
        f"drawn at random. `{COMMAND}` finds this again and writes it.\n\n"
        f"{listed}\n\n"
        "Names: ours take the peer's `state_dict` as it is (`strict`), or their weights are read "
        "from a file of its (`read`). Of some libraries there are only the names and shapes of "
        "`tests/names/`, which says from which of their sources (`names only`). The other columns "
        f"are the largest differences between outputs, as parts of the largest output; at most "
        f"{EXACT:.0e} in float64, and in float32 a hundred roundings times their measured "
        "growth.\n\n"
        f"{lines}\n\n"
        f"{versions(*modules)}.\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare bundled networks with their peers.")
    parser.add_argument("name", nargs="*", help="networks to compare; by default all that have one")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}, of all")
    arguments = parser.parse_args()
    names = arguments.name
    if names and arguments.write:
        parser.error("--write is for all networks")
    found: dict[str, AnyPeer] = {
        **peers(),
        **keras_peers(),
        **flax_peers(),
        **transformers_peers(),
        **names_peers(),
    }
    unknown = [name for name in names if name not in found]
    if unknown:
        parser.error(f"no peer is called {', '.join(unknown)}")
    absent = [name for name in OPTIONAL if find_spec(name) is None]
    chosen = names or list(found)
    missing = [name for name in chosen if (found[name].spec or name) not in bundled()]
    done = report([found[name] for name in chosen if name not in missing])
    if missing:
        print(f"not bundled, so not compared: {', '.join(missing)}")
    if absent and not names:
        print(f"not installed, so not compared: {', '.join(absent)}")
    if arguments.write:
        RESULTS.write_text(document(done))
    agree = all(row.holds for row in done)
    return 0 if agree and not missing and (names or not absent) else 1


if __name__ == "__main__":
    sys.exit(main())
