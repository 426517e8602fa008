"""Random operations on one file against a model (fsx/), on a local folder and on a mount; and on two mounts in turn."""

import hashlib
import subprocess
import sys

import pytest

from ..support.cluster import run

STEPS = 5000
TURNS_STEPS = 1000
FSX = (sys.executable, "-m", "curvefs.test.fsx", "one")


@pytest.mark.parametrize("seed", range(4))
def test_random_operations_on_a_file_agree_with_a_model(folder, seed):
    run(*FSX, folder / "file", "--seed", seed, "--steps", STEPS, timeout=280)


@pytest.mark.fuse
def test_two_mounts_that_take_turns_see_what_the_other_closed(mounted):
    other = mounted.mount("turns")
    run(*FSX, mounted.mnt / "turns", other / "turns", "--seed", "turns", "--steps", TURNS_STEPS)
    mounted.umount(other)


@pytest.mark.fuse
def test_files_that_are_exercised_at_once_stay_apart_and_are_the_same_on_another_mount(mounted):
    place = mounted.mnt / "at-once"
    place.mkdir()
    processes = [
        subprocess.Popen(
            [*FSX, place / f"f{seed}", "--seed", str(seed), "--steps", "400"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for seed in range(100, 104)
    ]
    for process in processes:
        _, why = process.communicate(timeout=120)
        assert process.returncode == 0, why.decode()
    other = mounted.mount("other")
    for path in sorted(place.iterdir()):
        digests = {
            hashlib.sha256((one / "at-once" / path.name).read_bytes()).hexdigest() for one in (mounted.mnt, other)
        }
        assert len(digests) == 1, path.name
    mounted.umount(other)
