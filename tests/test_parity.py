"""Networks that other people know under the same name are the same networks."""

from importlib.util import find_spec

import pytest

from resnetgen.emit.torchvision import counterpart
from resnetgen.pipeline import compile_spec
from resnetgen.spec.load import bundled

pytestmark = pytest.mark.frameworks

# One for each thing that a spec can say; `make parity` compares them all.
NAMES = (
    "resnet18",
    "resnext50_32x4d",
    "wide_resnet50_2",
    "resnet26t",
    "seresnet18",
    "ecaresnet26t",
    "ecaresnet50d_pruned",
    "resnetblur18",
    "resnetaa34d",
    "resnetrs50",
    "resnet50_gn",
    "test_resnet",
)


def need_peers(*modules: str) -> None:
    """Looked for, not imported: torchvision may need help to be imported."""
    for module in modules or ("torch", "torchvision", "timm"):
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed")


@pytest.mark.parametrize("name", NAMES)
def test_network_is_its_peer(name: str) -> None:
    need_peers()
    from parity import parity, peers

    found = parity(peers()[name])
    assert found.double <= 1e-10
    assert found.single <= found.single_bound


@pytest.mark.parametrize("name", ["keras_resnet50", "keras_resnet50v2"])
def test_network_is_that_of_keras_applications(name: str) -> None:
    need_peers("torch", "tensorflow", "keras", "h5py")
    from parity import keras_parity

    found = keras_parity(name)
    assert found.double <= 1e-10
    assert found.single <= found.single_bound


def test_torchvision_is_named_where_its_weights_fit_and_nowhere_else() -> None:
    need_peers()
    from peers import torchvision_models

    models = torchvision_models()
    theirs = {
        name
        for name in models.list_models(module=models)
        if models.get_model_builder(name).__module__ == "torchvision.models.resnet"
    }
    said = {name: counterpart(compile_spec(name).network) for name in bundled()}
    assert {name: model for name, model in said.items() if model} == {name: name for name in theirs}


def test_a_stride_in_another_place_is_not_the_peer() -> None:
    """The comparison can fail: the parameters are the same, the output is not."""
    need_peers()
    import torch
    from parity import EXACT, built, difference, peers, randomize

    torch.manual_seed(0)
    theirs = peers()["resnet50"].build()
    randomize(theirs)
    ours = built(compile_spec("resnet50_paper").network)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    image = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        assert difference(ours.eval()(image), theirs.eval()(image)) > 1e6 * EXACT
