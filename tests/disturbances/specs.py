"""The networks that are built."""

NAME = "small"
SPEC = """
name: small
input: {channels: 1, size: 8}
classes: 3
stem: {width: 4, kernel: 3, stride: 1, pool: none}
block: basic
stages:
  - {name: only, repeats: 1, width: 4, stride: 1}
"""
SPECS = {
    "new.yaml": SPEC,
    "old.yaml": SPEC.replace("width: 4", "width: 6"),
    "other.yaml": SPEC.replace("name: small", "name: other"),
}
