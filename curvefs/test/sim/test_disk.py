"""The simulated disk: what a crash may and may not take, and faults on demand."""

import errno
import random

import pytest

from curvefs.test.sim.disk import Crashed, SimDisk

SEEDS = range(1000)


def disk_with(seed, durable=b"", unsynced=b"", name="a"):
    """Return a disk, and a file on it whose name is durable."""
    disk = SimDisk(random.Random(seed))
    file = disk.create(name)
    disk.sync_folder()
    if durable:
        disk.write(file, memoryview(durable))
    disk.sync(file)
    if unsynced:
        disk.write(file, memoryview(unsynced))
    return disk, file


def contents(disk, name="a"):
    return disk.read(name, 0, 1 << 20)


def after_crashes(make):
    """Return everything that was left of a file, over many seeds."""
    left = set()
    for seed in SEEDS:
        disk = make(seed)
        disk.crash()
        left.add(contents(disk))
    return left


def test_what_is_synced_stays_and_the_rest_is_lost_kept_or_torn():
    durable, unsynced = b"d" * 700, b"u" * 3000
    left = after_crashes(lambda seed: disk_with(seed, durable, unsynced)[0])
    assert all(one.startswith(durable) and len(one) <= 3700 for one in left)
    tails = {one[700:] for one in left}
    assert {b"", unsynced} <= tails
    assert any(tail and len(tail) % 512 and unsynced.startswith(tail) for tail in tails), "cut at any byte"
    assert any(len(tail) == 3000 and set(tail) == set(b"\0u") for tail in tails), "pages lost"
    assert any(len(tail) == 3000 and set(tail) - set(b"\0u") for tail in tails), "pages of noise"


def test_after_a_crash_everything_is_durable():
    for seed in SEEDS:
        disk, _ = disk_with(seed, b"d" * 700, b"u" * 3000)
        disk.crash()
        left = contents(disk)
        assert disk.unsynced_bytes() == 0
        disk.crash()
        assert contents(disk) == left


def test_a_stopped_process_loses_nothing_and_makes_nothing_durable():
    disk, file = disk_with(1, b"d", b"u")
    disk.kill()
    assert (contents(disk), disk.unsynced_bytes()) == (b"du", 1)
    with pytest.raises(OSError, match="Bad file descriptor"):
        disk.write(file, memoryview(b"x"))


def test_names_that_are_not_synced_come_and_go_one_by_one():
    left = set()
    for seed in SEEDS:
        disk, _ = disk_with(seed)
        disk.create("b")
        disk.create("c")
        disk.unlink("a")
        disk.crash()
        left.add("".join(sorted(disk.names())))
    assert left == {"", "a", "b", "c", "ab", "ac", "bc", "abc"}


def test_a_name_made_again_stands_for_either_file():
    left = set()
    for seed in SEEDS:
        disk, file = disk_with(seed, b"old")
        disk.unlink("a")
        file = disk.create("a")
        disk.write(file, memoryview(b"new"))
        disk.sync(file)
        disk.crash()
        left.add(contents(disk) if disk.names() else None)
    assert left == {b"old", b"new", None}


def test_a_cut_is_durable_only_when_it_is_synced():
    def cut(seed, *, sync):
        disk, file = disk_with(seed, b"d" * 10)
        disk.truncate(file, 4)
        if sync:
            disk.sync(file)
        return disk

    assert after_crashes(lambda seed: cut(seed, sync=True)) == {b"d" * 4}
    assert after_crashes(lambda seed: cut(seed, sync=False)) == {b"d" * 4, b"d" * 10}


def test_pieces_of_what_was_cut_off_may_lie_behind_what_was_written_since():
    def rewritten(seed):
        disk, file = disk_with(seed, b"", b"x" * 2000)
        disk.truncate(file, 0)
        disk.write(file, memoryview(b"y" * 600))
        return disk

    assert any(one.startswith(b"y" * 512 + b"x") for one in after_crashes(rewritten))


def test_the_same_seed_gives_the_same_crash():
    def run(seed):
        disk, _ = disk_with(seed, b"d" * 700, b"u" * 3000)
        disk.create("b")
        disk.crash()
        return sorted(disk.names()), contents(disk)

    assert [run(seed) for seed in range(20)] == [run(seed) for seed in range(20)]


def test_a_full_disk_takes_what_fits_and_frees_what_is_removed():
    disk, file = disk_with(1, b"12345")
    disk.capacity_bytes = 8
    assert disk.write(file, memoryview(b"67890")) == 3
    assert disk.free_bytes() == 0
    with pytest.raises(OSError, match="No space") as caught:
        disk.write(file, memoryview(b"x"))
    assert caught.value.errno == errno.ENOSPC
    disk.truncate(file, 4)
    assert disk.free_bytes() == 4
    disk.unlink("a")
    assert disk.free_bytes() == 8


@pytest.mark.parametrize("operation", ["create", "write", "rewrite", "truncate", "sync", "unlink", "sync_folder"])
def test_each_operation_fails_on_demand_once_and_does_nothing(operation):
    disk, file = disk_with(1, b"d", b"u")
    calls = {
        "create": lambda: disk.create("b"),
        "write": lambda: disk.write(file, memoryview(b"x")),
        "rewrite": lambda: disk.rewrite("a", 0, b"du"),
        "truncate": lambda: disk.truncate(file, 0),
        "sync": lambda: disk.sync(file),
        "unlink": lambda: disk.unlink("a"),
        "sync_folder": disk.sync_folder,
    }
    disk.fail_next(operation, errno.EDQUOT)
    with pytest.raises(OSError, match="quota") as caught:
        calls[operation]()
    assert caught.value.errno == errno.EDQUOT
    assert (disk.names(), contents(disk), disk.unsynced_bytes()) == (["a"], b"du", 1)
    calls[operation]()


def test_what_a_sync_has_not_written_no_later_one_does_until_it_is_written_once_more():
    def failed(seed, *, again):
        disk, file = disk_with(seed, b"dddd", b"u" * 6)
        disk.fail_next("sync")
        with pytest.raises(OSError, match="Input/output"):
            disk.sync(file)
        disk.sync(file)
        assert contents(disk) == b"dddduuuuuu", "the kernel shows it"
        if again:
            disk.rewrite("a", 2, b"dduuuuuu")
        return disk

    assert len(after_crashes(lambda seed: failed(seed, again=False))) > 1
    assert after_crashes(lambda seed: failed(seed, again=True)) == {b"dddduuuuuu"}


def test_a_planned_crash_stops_everything_until_it_is_over():
    done = set()
    for seed in range(20):
        disk, file = disk_with(seed, b"d")
        disk.crash_in = 2
        disk.write(file, memoryview(b"1"))
        with pytest.raises(Crashed):
            disk.sync(file)
        with pytest.raises(Crashed):
            disk.names()
        with pytest.raises(Crashed):
            disk.write(file, memoryview(b"2"))
        disk.kill()
        done.add(disk.unsynced_bytes())
        assert contents(disk) == b"d1"
    assert done == {0, 1}, "the last operation happened, or not"


def test_damage_changes_one_durable_bit():
    for seed in range(50):
        disk, _ = disk_with(seed, bytes(40), bytes(40))
        name, offset = disk.flip_any()
        data = contents(disk)
        assert name == "a"
        assert offset < 40
        assert data[offset].bit_count() == 1
        assert sum(byte.bit_count() for byte in data) == 1
