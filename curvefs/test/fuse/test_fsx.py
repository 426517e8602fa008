"""Random reads, writes, truncations, mappings and appends on one file, against a model (support/fsx.py)."""

import hashlib
import subprocess
import sys

import pytest

from ..support.cluster import run

STEPS = 1000


@pytest.mark.parametrize("seed", range(4))
def test_random_operations_on_a_file_agree_with_a_model(folder, seed):
    run(sys.executable, "-m", "curvefs.test.support.fsx", folder / "file", seed, STEPS)


@pytest.mark.fuse
def test_files_that_are_exercised_at_once_stay_apart_and_are_the_same_on_another_mount(mounted):
    place = mounted.mnt / "at-once"
    place.mkdir()
    words = [sys.executable, "-m", "curvefs.test.support.fsx"]
    processes = [
        subprocess.Popen([*words, place / f"f{seed}", str(seed), "400"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for seed in range(100, 104)
    ]
    for process in processes:
        said, why = process.communicate(timeout=120)
        assert process.returncode == 0, why.decode()
        assert int(said) >= 0
    other = mounted.mount("other")
    for path in sorted(place.iterdir()):
        digests = {
            hashlib.sha256((one / "at-once" / path.name).read_bytes()).hexdigest() for one in (mounted.mnt, other)
        }
        assert len(digests) == 1, path.name
    mounted.umount(other)
