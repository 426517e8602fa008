"""One directory with very many files: it is listed, its attributes are read, and the client stays within its memory."""

import itertools
import os
import time
from pathlib import Path

import pytest

from ..support.cluster import run

COUNT = 100_000 if os.environ.get("CURVEFS_TEST_LONG") else 10_000
BUDGET_MIB, ALLOWED_MIB = 300, 150


def resident_mib(pid):
    """The most memory a process has had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmHWM")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_directory_of_very_many_files(cluster):
    cluster.up()
    place = cluster.mnt / "huge"
    place.mkdir()
    marks = [time.monotonic()]
    for number in range(COUNT):
        os.close(os.open(place / f"file-{number:06d}", os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o644))
        if number % (COUNT // 5) == COUNT // 5 - 1:
            marks.append(time.monotonic())
    rates = [COUNT / 5 / (after - before) for before, after in itertools.pairwise(marks)]
    print("creations a second, by fifths:", " ".join(f"{rate:.0f}" for rate in rates))

    assert len(run("ls", "-f", place, timeout=600).stdout.split()) == COUNT + 2
    lines = run("ls", "-l", place, timeout=1200).stdout.splitlines()
    assert len(lines) == COUNT + 1
    assert resident_mib(cluster.client_pid()) < BUDGET_MIB + ALLOWED_MIB

    # A fresh client, which knows none of it.
    fresh = cluster.mount("fresh")
    found = sorted(os.listdir(fresh / "huge"))
    assert found == [f"file-{number:06d}" for number in range(COUNT)]
    assert (fresh / "huge" / found[-1]).stat().st_size == 0
    assert resident_mib(cluster.client_pid(fresh)) < BUDGET_MIB + ALLOWED_MIB
    run("rm", "-r", place, timeout=1200)
    assert os.listdir(cluster.mnt) == []
