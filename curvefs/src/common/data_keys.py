"""Data keys of encrypted filesystems, in files: 32 random bytes in hexadecimal, readable by their owner alone.

A key is where data is read or written: at mounts, and at metaservers whose worker merges slices. Others know its check
value, which tells keys apart and says nothing about them. A key is never logged and never on a command line.
"""

import contextlib
import hmac
import os
from collections.abc import Callable
from pathlib import Path

from .errors import AlreadyExists, InvalidArgument, IOFailure, NotFound
from .private_files import check_private

KEY_SIZE = 32
CHECK_SIZE = 16
_TEXT_SIZE_MAX = 2 * KEY_SIZE + 2


def new_key(path: Path, random_bytes: Callable[[int], bytes]) -> bytes:
    """Make a key in a new file, durably, and return it. Raises AlreadyExists, IOFailure when it cannot."""
    key = random_bytes(KEY_SIZE)
    made = False
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        made = True
        with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123 -- a descriptor
            file.write(f"{key.hex()}\n")
            file.flush()
            os.fsync(descriptor)
    except FileExistsError:
        raise AlreadyExists(f"there is a file {path} already, and a key is never replaced") from None
    except OSError as error:
        if made:  # what is in it is no key, and would be in the way of the next try
            with contextlib.suppress(OSError):
                path.unlink()
        raise IOFailure(f"cannot make the key file {path}: {error.strerror}") from error
    return key


def read_key(path: Path) -> bytes:
    """Return the key in a file. Raises NotFound, InvalidArgument; neither says anything of what is in it."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_TEXT_SIZE_MAX + 1)
    except FileNotFoundError:
        raise NotFound(f"there is no key file {path}") from None
    except OSError as error:
        raise InvalidArgument(f"cannot read the key file {path}: {error.strerror}") from error
    check_private(mode, f"the key file {path}")
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_SIZE or len(text) > _TEXT_SIZE_MAX:
        raise InvalidArgument(f"{path} is no key file: {2 * KEY_SIZE} hexadecimal digits")
    return key


def find_key(folder: Path, fs_name: str, check: bytes) -> bytes:
    """Return the key of a filesystem from a folder of key files, named by the filesystem or the check value in hex.

    Raises NotFound, InvalidArgument (an unusable file, or the key of another filesystem), with one line for the log.
    """
    for name in (fs_name, check.hex()):
        path = folder / name
        if path.exists():
            key = read_key(path)
            check_key(key, check, fs_name, path)
            return key
    raise NotFound(f"there is no key of filesystem '{fs_name}' in {folder}: neither {fs_name} nor {check.hex()}")


def check_key(key: bytes, check: bytes, fs_name: str, path: Path) -> None:
    """Raise InvalidArgument unless a key, from a file, is that of a filesystem."""
    if not hmac.compare_digest(key_check(key), check):
        raise InvalidArgument(f"{path} is not the key of filesystem '{fs_name}'")


def key_check(key: bytes) -> bytes:
    """Return what tells a key from others."""
    return expand(key, b"curvefs key check")[:CHECK_SIZE]


def expand(key: bytes, purpose: bytes) -> bytes:
    """Return 32 bytes for one purpose, by HKDF-Expand of RFC 5869 with SHA-256."""
    assert len(key) == KEY_SIZE, "a key has 32 bytes"
    return hmac.digest(key, purpose + b"\x01", "sha256")
