"""Memory of a mount's client under many parallel streams: half of them write files of their own, half read others.

    python tools/bench/streams.py MOUNTPOINT [--streams 64] [--size-mib 64]

Prints the client's resident memory before, and the most seen while the streams ran.
"""

# ruff: noqa: INP001 -- a script, in no package

import argparse
import os
import threading
import time
from pathlib import Path

from curvefs.src.client import mountpoints, runtime

STEP = 1 << 20
MIB = 1 << 20


def resident(pid: int) -> int:
    """Return a process's resident memory in bytes."""
    line = next(one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS"))
    return int(line.split()[1]) << 10


def write(path: Path, size: int) -> None:
    """Write a file from its beginning to its end, and close it."""
    with path.open("wb", buffering=0) as file:
        for _ in range(size // STEP):
            file.write(os.urandom(STEP))


def read(path: Path, _: int) -> None:
    """Read a file from its beginning to its end, nothing of it from the kernel's cache."""
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while file.read(STEP):
            pass


def at_once(work: list[tuple[Path, int]], doing: str, pid: int) -> int:
    """Run streams in parallel; returns the most memory seen. doing: 'write', 'read' or 'both'."""
    threads = []
    for number, (path, size) in enumerate(work):
        reads = doing == "read" or (doing == "both" and number % 2)
        threads.append(threading.Thread(target=read if reads else write, args=(path, size)))
    for thread in threads:
        thread.start()
    most = 0
    while any(thread.is_alive() for thread in threads):
        most = max(most, resident(pid))
        time.sleep(0.05)
    return most


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mountpoint", type=Path)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--size-mib", type=int, default=64)
    said = parser.parse_args()
    client = runtime.client_of(mountpoints.resolve(str(said.mountpoint)))
    if client is None:
        parser.exit(2, f"nothing is mounted at {said.mountpoint}\n")
    folder = said.mountpoint / f"streams-{os.getpid()}"
    folder.mkdir()
    work = [(folder / str(number), said.size_mib * MIB) for number in range(said.streams)]
    print(f"before: {resident(client[0]) / MIB:.0f} MiB")
    for doing in ("write", "read", "both"):
        began = time.monotonic()
        most = at_once(work, doing, client[0])
        rate = said.streams * said.size_mib / (time.monotonic() - began)
        print(f"{said.streams} streams, {doing}: at most {most / MIB:.0f} MiB, {rate:.0f} MiB/s")
    for path, _ in work:
        path.unlink()
    folder.rmdir()


if __name__ == "__main__":
    main()
