"""Faults that only training shows: inference computes the same with each of them."""

from faults import Fault, replace

TORCH = (
    Fault(
        "momentum",
        replace(
            ("self.bn2 = nn.BatchNorm2d(width)", "self.bn2 = nn.BatchNorm2d(width, 1e-5, 0.01)")
        ),
        "layer1.0.bn2",
        "momentum is 0.01 instead of 0.1",
    ),
    Fault(
        "no-momentum",
        replace(
            (
                "self.bn3 = nn.BatchNorm2d(4 * width)",
                "self.bn3 = nn.BatchNorm2d(4 * width, momentum=0)",
            )
        ),
        "layer1.0.bn3",
        "does not move its running statistics",
    ),
    Fault(
        "running-statistics-in-training",
        replace(
            ("self.relu(self.bn2(self.conv2(x)))", "self.relu(self.bn2.eval()(self.conv2(x)))")
        ),
        "layer1.0.bn2",
        "uses the running statistics, not the batch's",
    ),
    Fault(
        "detached-shortcut",
        replace(("return self.relu(x + shortcut)", "return self.relu(x + shortcut.detach())")),
        "layer2.0.add",
        "passes no gradient back to layer2.0.downsample.1",
    ),
    Fault(
        "detached-branch",
        replace(("x = self.bn2(self.conv2(x))\n", "x = self.bn2(self.conv2(x.detach()))\n")),
        "layer3.0.act1+layer3.0.conv2",
        "passes no gradient back to layer3.0.bn1",
    ),
    Fault(
        "halved-gradient",
        replace(("x = self.maxpool(x)", "x = self.maxpool(x / 2 + x.detach() / 2)")),
        "act1+maxpool",
        "passes 0.5 times the gradient back to bn1",
    ),
    Fault(
        "biased-variance",
        replace(
            (
                "x = self.relu(self.bn1(self.conv1(x)))\n        x = self.maxpool(x)",
                "x = self.conv1(x)\n"
                "        if self.training:\n"
                "            kept = self.bn1.running_var.clone()\n"
                "            biased = x.var((0, 2, 3), correction=0).detach()\n"
                "        x = self.relu(self.bn1(x))\n"
                "        if self.training:\n"
                "            self.bn1.running_var = 0.9 * kept + 0.1 * biased\n"
                "        x = self.maxpool(x)",
            )
        ),
        "bn1",
        "keeps the biased variance, not the unbiased one",
    ),
    Fault(
        "other-output-in-training",
        replace(("return self.fc(x)", "return self.fc(x) * (2 if self.training else 1)")),
        "fc",
        "is multiplied by 2",
    ),
)

KERAS = (
    Fault(
        "momentum",
        replace(("BN_MOMENTUM = 0.9", "BN_MOMENTUM = 0.99")),
        "bn1",
        "momentum is 0.01 instead of 0.1",
    ),
    Fault(
        "running-statistics-in-training",
        replace(
            (
                "def conv_bn(",
                "class Running(layers.BatchNormalization):\n"
                "    def call(self, inputs, training=None, mask=None):\n"
                "        return super().call(inputs, training=False, mask=mask)\n\n\n"
                "def conv_bn(",
            ),
            ("return layers.BatchNormalization(", "return Running("),
        ),
        "bn1",
        "uses the running statistics, not the batch's",
    ),
    Fault(
        "no-momentum",
        replace(
            (
                'return keras.Model(image, logits, name="tiny")',
                'model = keras.Model(image, logits, name="tiny")\n'
                '    norm = model.get_layer("layer1_1_bn2")\n'
                "    norm.momentum = 1.0\n"
                "    return model",
            )
        ),
        "layer1.1.bn2",
        "does not move its running statistics",
    ),
    Fault(
        "detached-shortcut",
        replace(("([x, shortcut])", "([x, ops.stop_gradient(shortcut)])")),
        "layer2.0.add",
        "passes no gradient back to layer2.0.downsample.1",
    ),
    Fault(
        "unbiased-variance",
        replace(
            (
                "def conv_bn(",
                "class Unbiased(layers.BatchNormalization):\n"
                "    def call(self, inputs, training=None, mask=None):\n"
                "        kept = ops.copy(self.moving_variance.value)\n"
                "        output = super().call(inputs, training=training, mask=mask)\n"
                "        if training:\n"
                "            count = ops.size(inputs) // inputs.shape[-1]\n"
                "            factor = ops.cast(count, inputs.dtype)\n"
                "            factor = factor / (factor - 1)\n"
                "            added = self.moving_variance.value - self.momentum * kept\n"
                "            self.moving_variance.assign(self.momentum * kept + factor * added)\n"
                "        return output\n\n\n"
                "def conv_bn(",
            ),
            ("return layers.BatchNormalization(", "return Unbiased("),
        ),
        "bn1",
        "keeps the unbiased variance, not the biased one",
    ),
    Fault(
        "other-output-in-training",
        replace(
            (
                "return keras.Model(image, logits",
                "class Doubled(layers.Layer):\n"
                "        def call(self, x, training=None):\n"
                "            return 2 * x if training else x\n\n"
                "    logits = Doubled()(logits)\n"
                "    return keras.Model(image, logits",
            )
        ),
        "fc",
        "is multiplied by 2",
    ),
)

FLAX = (
    Fault(
        "momentum",
        replace(("momentum=0.9", "momentum=0.1")),
        "bn1",
        "momentum is 0.9 instead of 0.1",
    ),
    Fault(
        "running-statistics-in-training",
        replace(("self.bn2(self.conv2(x))", "self.bn2(self.conv2(x), use_running_average=True)")),
        "layer1.0.bn2",
        "uses the running statistics, not the batch's",
    ),
    Fault(
        "detached-shortcut",
        replace(
            (
                "return nnx.relu(x + shortcut)",
                "return nnx.relu(x + jax.lax.stop_gradient(shortcut))",
            )
        ),
        "layer2.0.add",
        "passes no gradient back to layer2.0.downsample.1",
    ),
    Fault(
        "detached-stage",
        replace(
            (
                "x = block(x)",
                "x = block(jax.lax.stop_gradient(x) if stage is self.layer2 else x)",
            )
        ),
        "layer1.1.add+layer1.1.act",
        "passes no gradient back to layer1.1.bn3",
    ),
    Fault(
        "unbiased-variance",
        replace(
            (
                "x = nnx.relu(self.bn1(self.conv1(x)))\n        x = max_pool(x)",
                "x = self.conv1(x)\n"
                "        kept, training = self.bn1.var[...], not self.bn1.use_running_average\n"
                "        factor = x.size // 8 / (x.size // 8 - 1)\n"
                "        x = nnx.relu(self.bn1(x))\n"
                "        if training:\n"
                "            added = self.bn1.var[...] - 0.9 * kept\n"
                "            self.bn1.var[...] = 0.9 * kept + factor * added\n"
                "        x = max_pool(x)",
            )
        ),
        "bn1",
        "keeps the unbiased variance, not the biased one",
    ),
    Fault(
        "other-output-in-training",
        replace(
            (
                "return self.fc(x.mean(axis=(1, 2)))",
                "x = self.fc(x.mean(axis=(1, 2)))\n"
                "        return x if self.bn1.use_running_average else 2 * x",
            )
        ),
        "fc",
        "is multiplied by 2",
    ),
)
