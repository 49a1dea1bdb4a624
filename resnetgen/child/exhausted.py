"""Tells what this machine refuses from what is wrong with a file."""

import errno
import re

HERE = "memory or disk came to an end here"
"""What to say of a process that found no more of it: nothing of any file."""
_EXHAUSTED = (errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_MORE = (errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE)
_NO_MEMORY = re.compile(
    "can't allocate memory|out of memory|resource_?exhausted|failed to allocate|bad_alloc", re.I
)
"""What PyTorch, CUDA, TensorFlow, XLA and ONNX Runtime call it, each in an exception of its own."""


def is_exhausted(error: Exception) -> bool:
    """Whether it is this machine's memory or disk that came to its end."""
    if isinstance(error, OSError):
        return error.errno in _EXHAUSTED
    said = f"{type(error).__name__}: {error}"
    return isinstance(error, MemoryError) or _NO_MEMORY.search(said) is not None


def is_no_more(error: OSError) -> bool:
    """Whether the system refuses memory, another process, or another open file."""
    return error.errno in _NO_MORE
