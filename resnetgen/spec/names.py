"""Which names a network may have: it becomes a function, a file and a folder."""

import builtins
import keyword
import re
import unicodedata

from resnetgen.diagnostics import quote

LONGEST_NAME = 64
PATTERN = r"[a-z][a-z0-9_]{0,63}"
EXPECTED = "a lowercase letter, then lowercase letters, digits or `_`, at most 64 in all"

_MODULES = """
annotations callable collections flax functional h5py jax jnp json keras lax layers load_file
load_safetensors math nn nnx np numpy ops optax os partial path re safe_open safetensors save_file
struct sys tensor tensorflow tf torch typing warnings
"""
_DEFINITIONS = """
average_pool basic_block batch_norm block blur_pool bottleneck bottleneck_block conv conv1x1 conv3x3
conv_block conv_bn conv_gn custom_block efficient_channel_attention forward gelu group_norm identity
kernel_init last_batch_norm last_group_norm lecun_normal_ linear make_layer max_pool norm
pad_channels pad_same plain_basic_block plain_block plain_bottleneck plain_bottleneck_block
plain_conv_block projection reset_parameters residual_block shortcut squeeze_excite subsample
zero_pad
"""
_VARIABLES = """
act axes bn bound channels cls dilation downsample downsample_dilation drop_path edge edges extent
extra_channels fan_in filters gamma gates gn groups he_normal height image images in_channels index
input_shape inputs kernel kernel_size kind kinds layer lecun left limit load logits main maxima
means model module name num_classes out_channels outputs padding parts pool probabilities rngs self
shape size softmax squeezed stage std stride tensors top uniform use_bias value variable weight
weights width window x y
"""
# Set by `site`, so not everywhere among the builtins.
_SITE = "copyright credits exit help license quit"
RESERVED = frozenset(" ".join([_MODULES, _DEFINITIONS, _VARIABLES, _SITE]).split())
"""What generated files import, define, or use as arguments and variables."""
# Functions for kinds of block, with a number behind all but the first, and for convolutions.
_BUILT = re.compile(
    r"(plain_|strided_)?(preact_|first_)?(basic_block|bottleneck|conv_block)[0-9]*"
    r"|(same_)?(biased_)?(grouped[0-9]*_)?conv[0-9]+x[0-9]+|conv[0-9]+_(channels|dilation)"
)

_KEYWORDS = frozenset([*keyword.kwlist, *keyword.softkwlist])
_BUILTINS = frozenset(dir(builtins))


def objection(name: str) -> str | None:
    """Why a network cannot have this name, or None where it can."""
    if name in _KEYWORDS:
        return "it is a Python keyword"
    if name in RESERVED or _BUILT.fullmatch(name):
        return "generated files use that name"
    if name in _BUILTINS:
        return "it is a Python builtin"
    return form_objection(name)


def form_objection(name: str) -> str | None:
    """Why a name is not of the form that names have, or None where it is."""
    if re.fullmatch(PATTERN, name):
        return None
    if not name:
        return "it is empty"
    foreign = re.search(r"[^a-z0-9_]", name)
    if foreign:
        return f"it contains {_describe(foreign[0])}"
    if len(name) > LONGEST_NAME:
        return f"it has {len(name):,} characters"
    return f"it starts with {quote(name[0])}"


def nearest_legal(name: str) -> str | None:
    """A legal name that reads like this one, if there is one."""
    decomposed = unicodedata.normalize("NFKD", name).lower()
    # A letter without an ASCII base would leave a gap that reads like another name.
    if any(not character.isascii() and character.isalpha() for character in decomposed):
        return None
    marks_removed = "".join(mark for mark in decomposed if not unicodedata.combining(mark))
    legal = "_".join(re.findall(r"[a-z0-9]+", marks_removed))
    return legal if legal != name and objection(legal) is None else None


def made_legal(text: str) -> str:
    """A legal name that reads like any text, as far as that goes."""
    for candidate in (text, f"{text}_net", f"net_{text}"):
        cut = candidate[:LONGEST_NAME]
        legal = cut if objection(cut) is None else nearest_legal(cut)
        if legal is not None:
            return legal
    return "network"


def _describe(character: str) -> str:
    """A character that people can see as itself, any other by its number and name too."""
    if character.isascii() and character.isprintable():
        return quote(character)
    described = unicodedata.name(character, "a control character")
    return f"{quote(character)} (U+{ord(character):04X}, {described})"
