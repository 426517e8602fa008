"""Files that hold secrets are their owner's alone."""

import stat

from .errors import InvalidArgument

_FOR_OTHERS = 0o077


def check_private(mode: int, what: str) -> None:
    """Raise InvalidArgument for the mode of a file that others may read or change. what: the file, for a person."""
    if mode & _FOR_OTHERS:
        raise InvalidArgument(f"others may read or change {what} (mode {stat.S_IMODE(mode):04o}); say chmod 600")
