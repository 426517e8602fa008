"""System calls that tests make by hand: what Python's os module lacks, and calls as another user."""

import ctypes
import errno
import os
import subprocess
import sys

import pytest

_LIBC = ctypes.CDLL(None, use_errno=True)
NOREPLACE, EXCHANGE = 1, 2
_AT_FDCWD = -100

NOBODY = 65534
_AS_NOBODY = f"""
import os, sys
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
try:
    exec(sys.argv[1], {{"os": os, "path": sys.argv[2]}})
except OSError as error:
    sys.exit(error.errno)
"""


def renameat2(old, new, flags):
    """renameat2(2)."""
    if _LIBC.renameat2(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def fails(number, function, *arguments):
    """Check that a call fails with exactly this errno."""
    with pytest.raises(OSError) as caught:
        function(*arguments)
    assert errno.errorcode[caught.value.errno] == errno.errorcode[number]


def as_nobody(code, path):
    """Run code, which finds `os` and `path`, as an unprivileged user; returns 0 or the name of its errno."""
    done = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, code, str(path)], capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode in errno.errorcode or not done.returncode, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return errno.errorcode[done.returncode] if done.returncode else 0
