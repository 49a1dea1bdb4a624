"""The small networks that mutants are made of: together they have all that a spec can ask for."""

from verification import CHANNELING, DILATING, SAME, SQUEEZING, TINY

# Norms and activations in front of convolutions, and a max pool that sees negative numbers.
PREACTIVATED = """
name: preactivated
input: {channels: 3, size: 32}
classes: 5
stem: {width: 8, kernel: 3, stride: 1, pool: max}
block: basic
order: pre
stages:
  - {name: a, repeats: 2, width: 8, stride: 1}
  - {name: b, repeats: 1, width: 12, stride: 2}
"""
# Group norms instead, another activation, and no projection.
GROUPED = """
name: grouped
input: {channels: 3, size: 16}
classes: 5
stem: {width: 8, kernel: 3, stride: 1, pool: none}
block: basic
norm: group
norm_groups: 4
activation: silu
stages:
  - {name: a, repeats: 2, width: 8, stride: 1}
"""
# No shortcuts; its stem strides and its blocks do not.
PLAIN = """
name: plain
input: {channels: 3, size: 32}
classes: 5
stem: {width: 8, kernel: 5, stride: 2, pool: none}
block: basic
shortcut: none
stages:
  - {name: a, repeats: 1, width: 8, stride: 1}
  - {name: b, repeats: 1, width: 12, stride: 2}
"""
# Convolutions have biases, strides are on 1x1 kernels, pools pad zeros, the output is a softmax.
DIALECT = """
name: dialect
dialect: keras
input: {channels: 3, size: 32}
classes: 5
stem: {width: 8, kernel: 7, stride: 2, pool: max}
block: bottleneck
stages:
  - {name: a, repeats: 1, width: 4, stride: 1}
  - {name: b, repeats: 2, width: 4, stride: 2}
"""
# Groups of channels, behind a deep stem and with GELUs.
CARDINAL = """
name: cardinal
input: {channels: 3, size: 32}
classes: 5
stem: {hidden: [4, 4], width: 8, kernel: 3, stride: 2, pool: max}
block: bottleneck
groups: 4
activation: gelu
stages:
  - {name: a, repeats: 1, width: 8, stride: 1}
  - {name: b, repeats: 2, width: 8, stride: 2}
"""
# A block of its own, and all that training drops at random.
DROPPING = """
name: dropping
input: {channels: 3, size: 16}
classes: 5
stem: {width: 8, kernel: 3, stride: 1, pool: none}
block:
  - {kernel: 3}
  - {kernel: 3}
  - {kernel: 3}
drop_path: 0.4
dropout: 0.3
head_pool: catavgmax
stages:
  - {name: a, repeats: 2, width: 8, stride: 1}
  - {name: b, repeats: 1, width: 12, stride: 2}
"""

SPECS = (
    TINY,
    SQUEEZING,
    CHANNELING,
    DILATING,
    SAME,
    PREACTIVATED,
    GROUPED,
    PLAIN,
    DIALECT,
    CARDINAL,
    DROPPING,
)
