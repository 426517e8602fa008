"""Logs are best effort: what they cannot be written to ends nothing."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import structlog
from curvefs.src.common import logs
logs.configure(program="it")
for number in range(10_000):
    try:
        raise KeyError(number)
    except KeyError:
        structlog.get_logger().exception("a line", number=number)
print("went on")
"""


@pytest.mark.parametrize("where", ["a full disk", "nobody", "a file"])
def test_what_cannot_be_logged_ends_nothing(tmp_path, where):
    if where == "nobody":
        reader, stderr = os.pipe()
        os.close(reader)
    else:
        path = "/dev/full" if where == "a full disk" else tmp_path / "log"
        stderr = os.open(path, os.O_WRONLY | os.O_CREAT)
    done = subprocess.run([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=stderr, check=False)
    os.close(stderr)
    assert (done.returncode, done.stdout) == (0, b"went on\n")
    if where == "a file":
        text = (tmp_path / "log").read_text()
        assert text.count("a line") == 10_000
        assert "program=it" in text
        assert "KeyError: 9999" in text
