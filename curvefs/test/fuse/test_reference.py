"""Random operations done on a local folder and on the mount side by side: same answers, same tree.

The local filesystem is the model. A failing seed is in the test's name; the assertion names the step.
"""

import errno
import os
import random
import stat
import tempfile
from pathlib import Path

import pytest

from ..support.calls import EXCHANGE, NOREPLACE, renameat2

STEPS = 1000
NAMES = ["a", "b", "c", "d/a", "d/b", "d/e", "d/e/a", "d/e/b", "f", "f/a"]


def choose(rng):
    """One operation: a name and its arguments."""
    one, other = rng.choice(NAMES), rng.choice(NAMES)
    match rng.randrange(20):
        case 0 | 1 | 2:
            return ("mkdir", one, rng.choice([0o755, 0o700, 0o2775]))
        case 3 | 4 | 5:
            return ("write", one, rng.randrange(1 << 30), rng.choice([0, 1, 100, 5_000, 200_000]))
        case 6:
            return ("patch", one, rng.randrange(1 << 30), rng.randrange(6_000), rng.randrange(1, 3_000))
        case 7:
            return ("truncate", one, rng.randrange(8_000))
        case 8:
            return ("unlink", one)
        case 9:
            return ("rmdir", one)
        case 10 | 11 | 12:
            return ("rename", one, other)
        case 13:
            return ("noreplace", one, other)
        case 14:
            return ("exchange", one, other)
        case 15:
            return ("link", one, other)
        case 16:
            return ("symlink", one, rng.choice(["a", "../b", "nowhere", "x" * 300]))
        case 17:
            return ("chmod", one, rng.choice([0o600, 0o644, 0o4755, 0o1777]))
        case 18:
            return ("setxattr", one, rng.choice(["user.x", "user.y"]), rng.randrange(1 << 30))
        case _:
            return ("removexattr", one, rng.choice(["user.x", "user.y"]))


def perform(root, operation):
    """Do it below a folder; returns None or the name of the errno."""
    kind, first, *rest = operation
    path = root / first
    try:
        match kind:
            case "mkdir":
                os.mkdir(path, rest[0])
            case "write":
                with open(path, "wb") as file:
                    file.write(random.Random(rest[0]).randbytes(rest[1]))
            case "patch":
                descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
                try:
                    os.pwrite(descriptor, random.Random(rest[0]).randbytes(rest[2]), rest[1])
                finally:
                    os.close(descriptor)
            case "truncate":
                os.truncate(path, rest[0])
            case "unlink":
                os.unlink(path)
            case "rmdir":
                os.rmdir(path)
            case "rename":
                os.rename(path, root / rest[0])
            case "noreplace":
                renameat2(path, root / rest[0], NOREPLACE)
            case "exchange":
                renameat2(path, root / rest[0], EXCHANGE)
            case "link":
                os.link(path, root / rest[0], follow_symlinks=False)
            case "symlink":
                os.symlink(rest[0], path)
            case "chmod":
                os.chmod(path, rest[0])
            case "setxattr":
                os.setxattr(path, rest[0], b"%d" % rest[1])
            case "removexattr":
                os.removexattr(path, rest[0])
            case _:
                raise AssertionError(kind)
    except OSError as error:
        return errno.errorcode[error.errno]
    return None


def snapshot(root):
    """Everything that a program can see of a tree, times and numbers of inodes apart."""
    found = {}
    for place, directories, files in os.walk(root):
        for name in sorted(directories + files):
            path = Path(place) / name
            at = path.lstat()
            said = [stat.filemode(at.st_mode), at.st_nlink, at.st_uid, at.st_gid]
            if path.is_symlink():
                said.append(os.readlink(path))
            elif path.is_file():
                said += [at.st_size, hash(path.read_bytes())]
            if not path.is_symlink():
                said.append({key: os.getxattr(path, key) for key in sorted(os.listxattr(path))})
            found[str(path.relative_to(root))] = said
    return found


@pytest.mark.fuse
@pytest.mark.parametrize("seed", range(6))
def test_the_mount_answers_as_a_local_folder(mounted, seed):
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="curvefs-test-local-") as folder:
        # One level down: symlinks lead one level up.
        local, place = Path(folder) / "tree", mounted.mnt / f"reference-{seed}" / "tree"
        local.mkdir()
        place.mkdir(parents=True)
        for step in range(STEPS):
            operation = choose(rng)
            expected, answer = perform(local, operation), perform(place, operation)
            assert answer == expected, (step, operation)
            if step % 50 == 49:
                assert snapshot(place) == snapshot(local), step
