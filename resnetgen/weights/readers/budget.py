"""What a file's tensors may come to, all together: it may give one piece of data many names."""

from resnetgen.child.task import Refused
from resnetgen.diagnostics import quote


class Budget:
    """So many bytes; they are to be spent before they are read."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._spent = 0

    def spend(self, name: str, *, values: int, width: int) -> None:
        """Raises Refused at the tensor with which it is more; `width` is a value's, in bytes."""
        beside = " beside those that it has already" if self._spent else ""
        self._spent += values * width
        if self._spent > self._size:
            raise Refused(f"claims {values:,} values of {quote(name)}{beside}, more than it holds")
