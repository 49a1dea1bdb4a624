"""What a file's tensors may come to, all together: it may give one piece of data many names."""

from resnetgen.child.task import Refused
from resnetgen.diagnostics import quote


class Budget:
    """So many bytes; they are to be spent before they are read."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._is_whole = True

    def spend(self, name: str, *, values: int, width: int) -> None:
        """Raises Refused at the tensor with which it is more; `width` is a value's, in bytes."""
        self._left -= values * width
        if self._left < 0:
            beside = "" if self._is_whole else " beside those that it has already"
            raise Refused(f"claims {values:,} values of {quote(name)}{beside}, more than it holds")
        self._is_whole = False
