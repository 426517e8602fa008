"""The command: python -m curvefs.test.soak --minutes 20 [--size-mib 1024] [--metaservers 1] [--out FOLDER].

Fills a file, then overwrites it at random on one mount and reads it on another, over an S3 server of its own. It ends
with 1 when a byte read was wrong, a process died, or throughput at the end is below MIN_RATIO of that at the beginning.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from curvefs_tool.seaweed import HOST, WeedServer

from curvefs.src.object.url import open_store
from curvefs.test.soak.pages import pages
from curvefs.test.soak.samples import PARTS, Sample, plot, rate, save, summary
from curvefs.test.support.bucket import objects
from curvefs.test.support.cluster import Cluster

EVERY_S = 10.0
VACUUM_EVERY_S = 60.0
MIN_RATIO = 0.8  # of two halves of one run on a busy machine
DELETE_GRACE = "60s"
_PIECE = 4 << 20


class Mover:
    """The writer or the reader: how many bytes it has moved."""

    def __init__(self, what, path, size, seed):
        words = [sys.executable, "-m", "curvefs.test.soak.load", what, str(path), str(size), seed]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        self.moved, self.wrong = 0, ""
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self.process.stdout:
            if line.startswith("wrong"):
                self.wrong = line.strip()
            else:
                self.moved = int(line)

    def stop(self):
        self.process.kill()
        self.process.wait()


class Vacuum:
    """Has the S3 server give the disk space of deleted objects back; by itself it does so every quarter of an hour."""

    def __init__(self, server):
        self._master = f"http://{HOST}:{server.ports['master']}"
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._ends.wait(VACUUM_EVERY_S):
            with urllib.request.urlopen(f"{self._master}/vol/vacuum?garbageThreshold=0.3", timeout=600) as answer:
                answer.read()

    def stop(self):
        self._ends.set()
        self._thread.join()


def main():
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog="make soak")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--size-mib", type=int, default=1024)
    parser.add_argument("--metaservers", type=int, default=1)
    parser.add_argument("--out", type=Path)
    said = parser.parse_args()
    out = said.out or Path(tempfile.mkdtemp(prefix="curvefs-soak-"))
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="curvefs-weed-") as folder:
        server = WeedServer(Path(folder), dies_with_parent=True)
        server.start()
        os.environ.update(server.environment)  # for looking into the bucket
        try:
            with Cluster(server.url(prefix="soak"), server.environment) as cluster:
                return soak(cluster, server, said, out)
        finally:
            server.stop()


def soak(cluster, server, said, out):
    """Do it on a cluster that is not up yet. Returns the exit code."""
    cluster.up("--delete-grace", DELETE_GRACE, "--metaservers", str(said.metaservers))
    other = cluster.mount("reader")
    size = said.size_mib << 20
    with open(cluster.mnt / "file", "wb") as file:
        file.writelines(pages(offset, _PIECE, 1) for offset in range(0, size, _PIECE))
    store = open_store(server.url(prefix="soak"))
    volumes = Vacuum(server)
    movers = [Mover("write", cluster.mnt / "file", size, "w"), Mover("read", other / "file", size, "r")]
    samples, began, failed = [], time.monotonic(), ""
    try:
        while not failed and time.monotonic() - began < 60 * said.minutes:
            time.sleep(EVERY_S)
            samples.append(_sample(cluster, other, store, movers, began))
            print(samples[-1], flush=True)
            failed = next((one.wrong or "a process died" for one in movers if one.process.poll() is not None), "")
    finally:
        for one in movers:
            one.stop()
        volumes.stop()
        store.close()
    save(samples, out / "soak.csv")
    plot(samples, out / "soak.png")
    print(*summary(samples), f"table and plot: {out}", sep="\n")
    part = max(len(samples) // PARTS, 2)
    if not failed and rate(samples[-part:]) < MIN_RATIO * rate(samples[:part]):
        failed = "throughput sank"
    print(failed or "nothing was wrong")
    return 1 if failed else 0


def _sample(cluster, other, store, movers, began):
    info = json.loads(cluster.tool("info", "/file", "--fs", cluster.fs, "--data", cluster.data, "--json").stdout)
    counts = {}
    for one in info["slices"]:
        counts[one["chunk"]] = counts.get(one["chunk"], 0) + 1
    return Sample(
        at_s=time.monotonic() - began,
        written=movers[0].moved,
        read=movers[1].moved,
        slices=max(counts.values(), default=0),
        bucket=sum(objects(store).values()),
        writer_rss=_rss(cluster.client_pid()),
        reader_rss=_rss(cluster.client_pid(other)),
        metaserver_rss=max(
            _rss(record.pid) for name, record in cluster.processes().items() if name.startswith("metaserver")
        ),
    )


def _rss(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


if __name__ == "__main__":
    sys.exit(main())
