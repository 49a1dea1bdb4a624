"""Saves a model of keras.applications or KerasHub, and what it computes, for `peers.computed`."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from peers import images_in, leave

KERAS = {
    f"keras_resnet{depth}{version}": f"ResNet{depth}{version.upper()}"
    for version in ("", "v2")
    for depth in (50, 101, 152)
}
"""What keras.applications calls the networks that are bundled under these names."""
_BASIC = {"block_type": "basic_block", "input_conv_filters": [64], "input_conv_kernel_sizes": [7]}
_BOTTLENECK = {**_BASIC, "block_type": "bottleneck_block"}
_VD = {
    "block_type": "bottleneck_block_vd",
    "input_conv_filters": [32, 32, 64],
    "input_conv_kernel_sizes": [3, 3, 3],
}
KERAS_HUB: dict[str, dict[str, Any]] = {
    "resnet_18": {**_BASIC, "stackwise_num_blocks": [2, 2, 2, 2]},
    "resnet_50": {**_BOTTLENECK, "stackwise_num_blocks": [3, 4, 6, 3]},
    "resnet_101": {**_BOTTLENECK, "stackwise_num_blocks": [3, 4, 23, 3]},
    "resnet_152": {**_BOTTLENECK, "stackwise_num_blocks": [3, 8, 36, 3]},
    "resnet_v2_50": {
        **_BOTTLENECK,
        "stackwise_num_blocks": [3, 4, 6, 3],
        "use_pre_activation": True,
    },
    "resnet_v2_101": {
        **_BOTTLENECK,
        "stackwise_num_blocks": [3, 4, 23, 3],
        "use_pre_activation": True,
    },
    "resnet_vd_50": {**_VD, "stackwise_num_blocks": [3, 4, 6, 3]},
    "resnet_vd_101": {**_VD, "stackwise_num_blocks": [3, 4, 23, 3]},
}
"""The arguments of KerasHub's backbone for its presets of these names."""


def main() -> None:
    import keras

    name, place, *files = sys.argv[1:]
    folder = Path(place)
    images = images_in(folder)
    keras.utils.set_random_seed(0)
    model = build(name, (96, 96))
    randomize(model)
    for file in files:
        save(model, folder / file)
    for dtype in ("float32", "float64"):
        keras.config.set_dtype_policy(dtype)
        for number, image in enumerate(images):
            # With its top, a model takes images of one size.
            sized = build(name, image.shape[2:])
            sized.set_weights(model.get_weights())
            logits = np.array(sized(image.transpose(0, 2, 3, 1).astype(dtype), training=False))
            leave(logits, folder, dtype, number)
    print(json.dumps(sum(int(np.prod(each.shape)) for each in model.trainable_variables)))


def build(name: str, size: tuple[int, ...]) -> Any:
    """The model without its softmax, which would hide differences."""
    import keras

    if name in KERAS_HUB:
        import keras_hub

        backbone = keras_hub.models.ResNetBackbone(
            stackwise_num_filters=[64, 128, 256, 512],
            stackwise_num_strides=[1, 2, 2, 2],
            image_shape=(*size, 3),
            **KERAS_HUB[name],
        )
        return keras_hub.models.ResNetImageClassifier(backbone, num_classes=1000)
    return getattr(keras.applications, KERAS[name])(
        weights=None, input_shape=(*size, 3), classifier_activation=None
    )


def randomize(model: Any) -> None:
    """As `parity.randomize`: every tensor is drawn, and statistics lie around a real batch's."""
    import keras

    random = np.random.default_rng(0)
    # KerasHub's classifiers are a model in a model.
    layers = [layer for part in (model, *model.layers) for layer in getattr(part, "layers", ())]
    norms = [each for each in layers if isinstance(each, keras.layers.BatchNormalization)]
    for layer in layers:
        if layer in norms:
            layer.gamma.assign(random.uniform(0.5, 1.5, layer.gamma.shape))
            layer.gamma.assign(layer.gamma * random.choice([-1, 1], layer.gamma.shape))
            layer.beta.assign(random.normal(0, 0.3, layer.beta.shape))
            layer.momentum = 0.0
        elif getattr(layer, "use_bias", False):
            layer.bias.assign(random.normal(0, 0.1, layer.bias.shape))
    model(random.normal(size=(4, *model.input_shape[1:])).astype(np.float32), training=True)
    for norm in norms:
        mean, variance = np.array(norm.moving_mean), np.array(norm.moving_variance)
        norm.moving_mean.assign(mean + 0.3 * np.sqrt(variance) * random.normal(size=mean.shape))
        norm.moving_variance.assign(variance * random.uniform(0.5, 2.0, variance.shape))
        norm.momentum = 0.99


def save(model: Any, path: Path) -> None:
    """Weights or a whole archive of Keras 3, or weights as Keras 2 wrote them."""
    import h5py
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    if path.name.endswith(".weights.h5"):
        model.save_weights(path)
    elif path.suffix == ".keras":
        model.save(path)
    else:
        with h5py.File(path, "w") as file:
            save_weights_to_hdf5_group(file, model)


if __name__ == "__main__":
    main()
