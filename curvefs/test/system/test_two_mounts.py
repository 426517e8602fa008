"""Two mounts of one filesystem: close-to-open for data, the timeout for names and attributes, atomic races."""

import errno
import os
import random
import threading
from functools import partial

import pytest

from ..support.calls import fails
from ..support.cluster import wait_until

TIMEOUT_S = 1.0  # of names and attributes, by default
PATIENCE_S = TIMEOUT_S + 9.0  # a busy machine


@pytest.fixture
def two(cluster):
    """Two mounts; names do not concern the object store."""
    cluster.up()
    return cluster.mnt, cluster.mount()


@pytest.fixture
def two_with_data(either_cluster):
    """Two mounts, on each kind of object store."""
    either_cluster.up()
    return either_cluster.mnt, either_cluster.mount()


def test_what_one_closed_the_other_reads_at_its_next_open(two_with_data):
    rng = random.Random(5)
    for number in range(60):
        writer, reader = two_with_data if number % 2 else two_with_data[::-1]
        data = rng.randbytes(rng.choice([10, 4096, 4097, 100_000]))
        with open(writer / "a", "r+b" if number else "wb") as file:
            file.write(data)
            file.truncate()
        with open(reader / "a", "rb") as file:
            assert file.read() == data, number
            assert os.fstat(file.fileno()).st_size == len(data)


def test_a_change_of_the_same_size_is_seen_though_the_reader_has_the_pages(two_with_data):
    first, second = two_with_data
    (first / "a").write_bytes(b"0" * 50_000)
    for number in range(1, 20):
        assert (second / "a").read_bytes() == b"%d" % ((number - 1) % 10) * 50_000
        with open(first / "a", "r+b") as file:
            file.write(b"%d" % (number % 10) * 50_000)


def test_what_was_synced_is_read_at_the_next_open_though_it_is_not_closed(two):
    first, second = two
    with open(first / "a", "wb") as file:
        for number in range(10):
            file.write(b"%d" % number * 1000)
            file.flush()
            os.fsync(file.fileno())
            assert len((second / "a").read_bytes()) == 1000 * (number + 1)


def test_names_created_renamed_and_deleted_are_right_on_the_other_within_the_timeout(two):
    first, second = two
    (first / "d").mkdir()
    for number in range(5):
        (first / "d" / f"f{number}").write_text("x")
    wait_until(lambda: sorted(os.listdir(second / "d")) == [f"f{number}" for number in range(5)], PATIENCE_S)
    os.rename(first / "d" / "f0", first / "d" / "g0")
    wait_until(lambda: (second / "d" / "g0").exists() and not (second / "d" / "f0").exists(), PATIENCE_S)
    os.unlink(first / "d" / "f1")
    wait_until(lambda: not (second / "d" / "f1").exists(), PATIENCE_S)
    os.rename(first / "d", first / "e")
    wait_until(lambda: sorted(os.listdir(second)) == ["e"], PATIENCE_S)
    assert sorted(os.listdir(second / "e")) == ["f2", "f3", "f4", "g0"]


@pytest.mark.parametrize(
    "call",
    [
        partial(os.chmod, mode=0o640),
        partial(os.truncate, length=3),
        lambda path: os.setxattr(path, "user.x", b"y"),
        lambda path: os.link(path, path.with_name("link")),
        lambda path: os.utime(path, (1, 1)),
        os.stat,
        os.listxattr,
    ],
    ids=["chmod", "truncate", "setxattr", "link", "utime", "stat", "listxattr"],
)
def test_a_name_that_the_other_replaces_is_there_all_the_time(two, call):
    first, second = two
    (first / "conf").write_text("old")
    call(first / "conf")
    (first / "link").unlink(missing_ok=True)
    (second / "new").write_text("new")
    os.rename(second / "new", second / "conf")
    call(first / "conf")


def test_a_directory_that_the_other_replaces_takes_names_all_the_time(two):
    first, second = two
    (first / "conf").mkdir()
    assert not (first / "conf" / "x").exists()
    (second / "new").mkdir()
    os.rename(second / "new", second / "conf")
    (first / "conf" / "x").write_text("y")
    assert (first / "conf" / "x").read_text() == "y"


def test_a_name_that_was_absent_is_found_when_the_other_creates_it(two):
    first, second = two
    for number in range(5):
        assert not (second / f"f{number}").exists()
        (first / f"f{number}").touch()
        wait_until((second / f"f{number}").exists, PATIENCE_S)


def test_modes_owners_and_times_arrive_within_the_timeout(two):
    first, second = two
    (first / "a").touch()
    wait_until((second / "a").exists, PATIENCE_S)
    os.chmod(first / "a", 0o640)
    os.chown(first / "a", 5, 6)
    os.utime(first / "a", ns=(10**18, 10**18))
    os.setxattr(first / "a", "user.k", b"v")
    expected = (0o100640, 5, 6, 10**18)

    def seen():
        found = (second / "a").stat()
        return (found.st_mode, found.st_uid, found.st_gid, found.st_mtime_ns) == expected

    wait_until(seen, PATIENCE_S)
    wait_until(lambda: os.getxattr(second / "a", "user.k") == b"v", PATIENCE_S)


def at_once(*functions):
    """Run functions in threads that begin together; returns what each returned, or its errno."""
    gate, results = threading.Barrier(len(functions)), [None] * len(functions)

    def one(number, function):
        gate.wait()
        try:
            results[number] = function()
        except OSError as error:
            results[number] = errno.errorcode[error.errno]

    threads = [threading.Thread(target=one, args=item) for item in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_exclusive_creation_of_one_name_has_one_winner(two):
    def create(place, name):
        os.close(os.open(place / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        return "won"

    for number in range(40):
        assert sorted(at_once(*(partial(create, place, f"f{number}") for place in two))) == ["EEXIST", "won"]


def test_a_rename_from_both_mounts_moves_a_file_once(two):
    numbers = sorted(str(number) for number in range(25))

    def move(place, source, target):
        os.rename(place / source, place / target)
        return "won"

    for number in range(25):
        (two[0] / f"f{number}").touch()
    wait_until(lambda: len(os.listdir(two[1])) == 25, PATIENCE_S)
    for number in range(25):
        results = at_once(*(partial(move, place, f"f{number}", f"to{who}-{number}") for who, place in enumerate(two)))
        assert sorted(results) == ["ENOENT", "won"]
    wait_until(lambda: sorted(name.partition("-")[2] for name in os.listdir(two[1])) == numbers, PATIENCE_S)


def test_appends_from_two_mounts_never_overlap(two_with_data):
    (two_with_data[0] / "log").touch()
    wait_until((two_with_data[1] / "log").exists, PATIENCE_S)

    def append(place, who):
        for number in range(60):
            descriptor = os.open(place / "log", os.O_WRONLY | os.O_APPEND)
            os.write(descriptor, b"%s %04d\n" % (who, number))
            os.close(descriptor)

    assert at_once(lambda: append(two_with_data[0], b"one"), lambda: append(two_with_data[1], b"two")) == [None, None]
    lines = (two_with_data[0] / "log").read_text().splitlines()
    assert sorted(lines) == sorted(f"{who} {number:04d}" for who in ("one", "two") for number in range(60))
    assert [line for line in lines if line.startswith("one")] == [f"one {number:04d}" for number in range(60)]


def test_a_file_deleted_and_made_again_is_the_new_one_on_the_other(two):
    first, second = two
    for number in range(5):
        (first / "a").write_text(f"generation {number}")
        wait_until(lambda number=number: read_or_none(second / "a") == f"generation {number}", PATIENCE_S)
        os.unlink(first / "a")


def read_or_none(path):
    try:
        return path.read_text()
    except OSError as error:
        assert error.errno in (errno.ENOENT, errno.ESTALE)
        return None


def test_truncation_on_one_is_seen_on_the_other(two):
    first, second = two
    (first / "a").write_bytes(b"x" * 100_000)
    assert (second / "a").read_bytes() == b"x" * 100_000
    os.truncate(first / "a", 1000)
    with open(first / "a", "r+b") as file:
        file.truncate(5000)
    assert (second / "a").read_bytes() == b"x" * 1000 + bytes(4000)


def test_a_read_only_mount_refuses_changes_and_reads(cluster):
    cluster.up()
    (cluster.mnt / "a").write_text("x")
    place = cluster.mount("readonly", "ro")
    assert (place / "a").read_text() == "x"
    fails(errno.EROFS, os.mkdir, place / "d")
    fails(errno.EROFS, os.open, place / "a", os.O_WRONLY)
    fails(errno.EROFS, os.unlink, place / "a")


@pytest.mark.parametrize("kind", ["link to a file", "link to nothing", "fifo", "directory"])
def test_open_to_create_takes_what_the_other_has_just_made_there_as_a_local_filesystem_does(two, kind):
    first, second = two
    (first / "d").mkdir()
    (first / "d" / "target").write_text("x")  # the first knows the directory as a whole, and no "a" in it
    wait_until((second / "d" / "target").exists, PATIENCE_S)
    make = {
        "link to a file": partial(os.symlink, "target"),
        "link to nothing": partial(os.symlink, "made"),
        "fifo": os.mkfifo,
        "directory": os.mkdir,
    }[kind]
    make(second / "d" / "a")
    if kind == "directory":
        fails(errno.EISDIR, os.open, first / "d" / "a", os.O_CREAT | os.O_RDWR)
        return
    os.close(os.open(first / "d" / "a", os.O_CREAT | os.O_RDWR))
    assert (first / "d" / "made").exists() == (kind == "link to nothing")
    fails(errno.EEXIST, os.open, first / "d" / "a", os.O_CREAT | os.O_EXCL | os.O_RDWR)
