"""Programs and a kernel for tests of the supervisor: small scripts instead of servers and a client, files as mounts.

A fake server notes in its data folder how often it was started, and in the cluster's `order` that it was stopped. A
file `behave` in its data folder makes it refuse (`exit CODE words`) or hang (`silent`). The fake client mounts by a
file `mounted` in the mountpoint, and ends once that is gone and no file `storing` is there any more.
"""

import json
import sys
from pathlib import Path

from curvefs.src.client import mountpoints
from curvefs.src.client.runtime import is_running
from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode

SERVER = """
import os, pathlib, signal, sys, tomllib
config = tomllib.loads(pathlib.Path(sys.argv[2]).read_text())
data = pathlib.Path(config["data"])
data.mkdir(exist_ok=True)
with (data / "starts").open("a") as file:
    file.write(f"{os.getpid()}\\n")
behave = (data / "behave").read_text() if (data / "behave").exists() else ""
if behave.startswith("exit "):
    _, code, words = behave.split(" ", 2)
    print("an earlier line", file=sys.stderr)
    print(f"curvefs-fake: {words}", file=sys.stderr)
    sys.exit(int(code))
def stop(*_):
    with (data.parent / "order").open("a") as file:
        file.write(f"{data.name}\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
if behave != "silent":
    print("listening on", config["listen"], flush=True)
while True:
    signal.pause()
"""

CLIENT = """
import json, os, pathlib, signal, sys, time
descriptor, mountpoint, cluster = int(sys.argv[1]), pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
behave = (mountpoint / "behave").read_text() if (mountpoint / "behave").exists() else ""
if behave:
    os.write(descriptor, behave.encode() + b"\\n")
    sys.exit(int(behave.split()[0]))
mark = mountpoint / "mounted"
signal.signal(signal.SIGTERM, lambda *_: mark.unlink(missing_ok=True))
started = int(pathlib.Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
(mountpoint / "new").write_text(json.dumps([os.getpid(), started]))
(mountpoint / "new").rename(mark)
os.write(descriptor, b"ready\\n")
os.close(descriptor)
while mark.exists() or (mountpoint / "storing").exists():
    time.sleep(0.01)
with (cluster / "order").open("a") as file:
    file.write("client\\n")
"""


def server_program(folder: Path) -> list[str]:
    """Return the words that run a fake server."""
    return _program(folder / "server.py", SERVER)


def client_program(folder: Path, descriptor: str, mountpoint: str) -> list[str]:
    """Return the words that run a fake client of a mountpoint."""
    return [*_program(folder / "client.py", CLIENT), descriptor, mountpoint, str(folder)]


def _program(path: Path, text: str) -> list[str]:
    path.write_text(text)
    return [sys.executable, "-I", "-S", str(path)]


class FakeMounts:
    """Mounts that are files. A file `users` makes a mount busy."""

    def check(self, place):
        if self.is_dead(place):
            self.lazy_unmount(place)
        if self.is_ours(place) or not Path(place).is_dir():
            raise StartupError(f"mountpoint {place} is busy or missing", ExitCode.MOUNTPOINT)

    def is_ours(self, place):
        return (Path(place) / "mounted").exists()

    def is_dead(self, place):
        return self.is_ours(place) and self.client(place) is None

    def users(self, place):
        users = Path(place) / "users"
        return users.read_text().split() if users.exists() else []

    def client(self, place):
        if not self.is_ours(place):
            return None
        pid, started = json.loads((Path(place) / "mounted").read_text())
        return (pid, started) if is_running(pid, started) else None

    def unmount(self, place):
        if users := self.users(place):
            raise mountpoints.busy(place, users)
        self.lazy_unmount(place)

    def lazy_unmount(self, place):
        (Path(place) / "mounted").unlink(missing_ok=True)
