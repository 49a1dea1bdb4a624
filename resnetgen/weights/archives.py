"""What Python's own reader of archives makes of damaged ones."""

import zipfile
import zlib

DAMAGES = (zipfile.BadZipFile, OSError, RuntimeError, ValueError, EOFError, zlib.error)
"""The exceptions; of names that are no text, too, and of what it cannot unpack."""
