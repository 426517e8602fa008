"""What the owner of a mount asks its client: whatever comes, each line has an answer and the mount goes on."""

import json
import shutil
import tempfile
from pathlib import Path

import pytest
import trio

from curvefs.src.client import control
from curvefs.src.common.errors import IOFailure

pytestmark = pytest.mark.trio


class Warmth:
    """Says one block of two; or fails."""

    def as_dict(self):
        return {"blocks": 2, "cached": 1}

    async def file(self, inode_id, what):
        if inode_id == 7:
            raise IOFailure("no block")
        if inode_id == 8:
            raise RuntimeError("a bug")
        return self


@pytest.fixture
def place():
    """The path of a unix socket must be short."""
    folder = Path(tempfile.mkdtemp(prefix="curvefs-test-"))
    yield folder / "socket"
    shutil.rmtree(folder)


async def test_every_line_is_answered_and_the_next_one_too(place):
    lines = [
        b'{"what": "warm", "inode": -1}',
        b'{"what": "warm", "inode": 18446744073709551616}',
        b'{"what": "warm", "inode": 1e999}',
        b'{"what": "melt", "inode": 5}',
        b"[" * 3000,
        b"\xff",
        b'{"what": "warm", "inode": 7}',
        b'{"what": "warm", "inode": 8}',
    ]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(control.serve, place, Warmth())
        with trio.fail_after(10):
            while not place.exists():
                await trio.sleep(0.01)
            answers = b""
            async with await trio.open_unix_socket(place) as stream:
                await stream.send_all(b"".join(line + b"\n" for line in (*lines, b'{"what": "check", "inode": 5}')))
                while answers.count(b"\n") <= len(lines):
                    answers += await stream.receive_some()
        said = [json.loads(line) for line in answers.splitlines()]
        assert all("error" in one for one in said[:-1])
        assert said[6]["error"] == "no block"
        assert said[-1] == {"blocks": 2, "cached": 1}
        nursery.cancel_scope.cancel()
