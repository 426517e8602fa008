"""A real mount beside RealServers: a client process in the foreground, without a supervisor.

with RealMount(servers, "demo") as mount:
    (mount.folder / "file").write_text("text")
"""

import os
import subprocess
import sys

from curvefs.src.client import mountpoints, runtime

CLIENT = [sys.executable, "-m", "curvefs.src.client.main"]
READY_S = 60.0


class RealMount:
    """See the module. folder: the mountpoint, below the servers' root, so that the guard ends what is left."""

    def __init__(self, servers, fs, *options):
        self.folder = servers.root / f"mnt-{fs}"
        self.folder.mkdir(exist_ok=True)
        self._log = servers.root / f"mnt-{fs}.log"
        words = [f"mds={servers.mds.address}", f"log={self._log}", *options]
        done = subprocess.run(
            [*CLIENT, fs, str(self.folder), "-o", ",".join(words)],
            capture_output=True,
            text=True,
            timeout=READY_S,
            check=False,
            env=os.environ,
        )
        assert done.returncode == 0, done.stderr

    def __enter__(self):
        return self

    def __exit__(self, *_):
        mountpoints.lazy_unmount(str(self.folder))  # the guard of the servers ends the process

    def unmount(self):
        """Unmount; returns when the client has stored everything and ended."""
        who = runtime.client_of(str(self.folder))
        mountpoints.unmount(str(self.folder))
        assert who is not None
        assert runtime.wait_gone(*who, timeout_s=READY_S)

    def log(self):
        """Return what the client has logged."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""
