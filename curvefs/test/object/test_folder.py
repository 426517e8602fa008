"""The folder store keeps the contract, and what only a folder can get wrong."""

import errno
import os
import shutil
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curvefs.src.common.errors import InvalidArgument
from curvefs.src.object.folder import FolderStore
from curvefs.src.object.memory import MemoryStore
from curvefs.src.object.protocol import ObjectNotFound, StoreFull, StoreRefused, StoreUnavailable
from curvefs.test.object.contract import ObjectStoreContract


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != ".incoming")


class TestFolderStore(ObjectStoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        return FolderStore(tmp_path / "made" / "by it")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.text("ab-.0", min_size=1, max_size=2).filter(lambda part: part.strip(".")).map(lambda p: p + "x"),
        max_size=12,
    ),
    st.lists(st.integers(0, 2), min_size=12, max_size=12),
    st.text("ab-.0x/", max_size=4),
    st.text("ab-.0x/", max_size=4),
    st.integers(1, 12),
)
def test_listings_are_those_of_the_memory_store(tmp_path_factory, parts, depths, prefix, after, limit):
    """Names end with x and folders with y, so that no key lies below another."""
    folder = tmp_path_factory.mktemp("store")
    store, model = FolderStore(folder), MemoryStore()
    for n, part in enumerate(parts):
        key = "/".join([*(f"{one}y" for one in parts[: depths[n]]), part])
        store.put(key, part.encode())
        model.put(key, part.encode())
    expected = [(info.key, info.size) for info in model.list(prefix, after, limit)]
    assert [(info.key, info.size) for info in store.list(prefix, after, limit)] == expected
    shutil.rmtree(folder)


def test_order_is_by_the_whole_key_not_by_folder(tmp_path):
    store = FolderStore(tmp_path)
    for key in ("a/b", "a-b", "a0", "a.b/c"):
        store.put(key, b"x")
    assert [info.key for info in store.list("")] == ["a-b", "a.b/c", "a/b", "a0"]


def test_deletion_leaves_no_empty_folder(tmp_path):
    store = FolderStore(tmp_path)
    store.put("a/b/c", b"x")
    store.put("a/d", b"x")
    store.delete(["a/b/c"])
    assert files_below(tmp_path) == ["a", "a/d"]
    store.delete(["a/d"])
    assert files_below(tmp_path) == []


def test_second_store_on_the_folder_sees_the_objects(tmp_path):
    FolderStore(tmp_path).put("a/b", b"x")
    assert FolderStore(tmp_path).get("a/b") == b"x"


def test_failed_put_leaves_nothing(tmp_path, monkeypatch):
    store = FolderStore(tmp_path)

    def fail(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(StoreUnavailable, match="Input/output error"):
        store.put("a/b", b"x")
    assert list((tmp_path / ".incoming").iterdir()) == []
    assert store.list("") == []


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, StoreFull),
        (errno.EDQUOT, StoreFull),
        (errno.EACCES, StoreRefused),
        (errno.EROFS, StoreRefused),
        (errno.EIO, StoreUnavailable),
        (errno.ESTALE, StoreUnavailable),
        (errno.EMFILE, StoreUnavailable),
    ],
)
def test_errors_of_the_system_become_ours(tmp_path, monkeypatch, number, expected):
    store = FolderStore(tmp_path)

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(expected, match=os.strerror(number)) as caught:
        store.put("k", b"x")
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_object_is_synced_before_it_has_its_name_and_the_name_after(tmp_path, monkeypatch):
    """The order that makes a put durable: data, rename, folder; and each new folder in its parent first."""
    store = FolderStore(tmp_path)
    happened: list[str] = []
    rename = Path.rename
    fsync = os.fsync

    def recorded_fsync(descriptor: int) -> None:
        happened.append("sync " + os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), tmp_path))
        fsync(descriptor)

    def recorded_rename(path: Path, target: Path) -> Path:
        happened.append(f"rename to {target.relative_to(tmp_path)}")
        return rename(path, target)

    monkeypatch.setattr(os, "fdatasync", lambda _: happened.append("data"))
    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(Path, "rename", recorded_rename)
    store.put("a/b/k", b"x")
    assert happened == ["data", "sync .", "sync a", "rename to a/b/k", "sync a/b"]
    happened.clear()
    store.put("a/b/l", b"x")
    assert happened == ["data", "rename to a/b/l", "sync a/b"]


def test_reader_never_sees_half_an_object(tmp_path):
    store, wrong, stop = FolderStore(tmp_path), [], threading.Event()
    contents = {bytes([n]) * 100_000 for n in range(2)}
    store.put("k", min(contents))

    def read() -> None:
        while not stop.is_set():
            if store.get("k") not in contents:
                wrong.append(True)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(20):
        for content in contents:
            store.put("k", content)
    stop.set()
    reader.join()
    assert wrong == []


def test_what_killed_puts_left_is_not_listed_and_removed_an_hour_later(tmp_path):
    FolderStore(tmp_path)
    old, young = tmp_path / ".incoming" / "old", tmp_path / ".incoming" / "young"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, ns=(0, 0))
    store = FolderStore(tmp_path)
    assert store.list("") == []
    assert [path.name for path in (tmp_path / ".incoming").iterdir()] == ["young"]


@pytest.mark.parametrize("key", [".incoming", ".incoming/x"])
def test_keys_cannot_reach_unfinished_puts(tmp_path, key):
    with pytest.raises(InvalidArgument):
        FolderStore(tmp_path).put(key, b"x")


def test_no_object_lies_below_another(tmp_path):
    store = FolderStore(tmp_path)
    store.put("a/b", b"x")
    for key in ("a", "a/b/c", "a/b/c/d"):
        with pytest.raises(InvalidArgument, match="below another"):
            store.put(key, b"y")
    assert store.get("a/b") == b"x"
    assert list((tmp_path / ".incoming").iterdir()) == []


def test_folder_that_another_process_removed_is_made_again(tmp_path):
    """Both stores remember the folders they made; each delete takes the empty ones away under the other's feet."""
    first, second = FolderStore(tmp_path), FolderStore(tmp_path)
    first.put("a/b/c", b"1")
    second.put("a/b/c", b"1")
    first.delete(["a/b/c"])
    second.put("a/b/c", b"2")
    assert first.get("a/b/c") == b"2"


def test_puts_and_deletions_in_one_folder_do_not_fail_each_other(tmp_path):
    stores = [FolderStore(tmp_path) for _ in range(2)]
    errors: list[Exception] = []

    def work(n: int) -> None:
        try:
            for _ in range(60):
                stores[n].put(f"a/b/{n}", b"x")
                stores[n].delete([f"a/b/{n}"])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_vanished_folder_is_an_outage_and_is_not_made_again(tmp_path):
    """An unmounted disk must neither look like lost objects nor be written beside."""
    store = FolderStore(tmp_path / "disk")
    store.put("a/b", b"x")
    (tmp_path / "disk").rename(tmp_path / "elsewhere")
    calls = (
        lambda: store.put("a/c", b"x"),
        lambda: store.get("a/b"),
        lambda: store.list(""),
        lambda: store.delete(["a/b"]),
    )
    for call in calls:
        with pytest.raises(StoreUnavailable):
            call()
    assert not (tmp_path / "disk").exists()
    (tmp_path / "disk").mkdir()  # the mountpoint of the disk
    for call in calls:
        with pytest.raises(StoreUnavailable):
            call()
    assert [*(tmp_path / "disk").iterdir()] == []
    (tmp_path / "disk").rmdir()
    (tmp_path / "elsewhere").rename(tmp_path / "disk")
    assert store.get("a/b") == b"x"


def test_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnavailable, match="file"):
        FolderStore(tmp_path / "file" / "below")


def test_full_disk_is_said_and_heals(tmp_path, monkeypatch):
    store = FolderStore(tmp_path)
    real = os.fdatasync
    full = [True]

    def sync(descriptor: int) -> None:
        if full[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", sync)
    with pytest.raises(StoreFull):
        store.put("k", b"x")
    with pytest.raises(ObjectNotFound):
        store.get("k")
    full[0] = False
    store.put("k", b"x")
    assert store.get("k") == b"x"


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_really_full_disk_keeps_what_is_there_and_takes_more_after_a_deletion(small_disk):
    """No fault is injected: the write itself runs out of room, halfway through the object."""
    store = FolderStore(small_disk)
    store.put("a/large", bytes(600 << 10))
    for _ in range(3):
        with pytest.raises(StoreFull):
            store.put("a/more", bytes(600 << 10))
    assert list((small_disk / ".incoming").iterdir()) == []
    assert [info.key for info in store.list("")] == ["a/large"]
    assert store.get("a/large") == bytes(600 << 10)
    store.delete(["a/large"])
    store.put("a/more", bytes(600 << 10))
    assert store.get("a/more") == bytes(600 << 10)


@pytest.mark.parametrize("key", ["../out", "a/../../out", "/out", "./../out", "a/./b"])
def test_keys_cannot_reach_outside_the_folder(tmp_path, key):
    store = FolderStore(tmp_path / "store")
    (tmp_path / "out").write_bytes(b"foreign")
    for call in (lambda: store.put(key, b"x"), lambda: store.get(key), lambda: store.delete([key])):
        with pytest.raises(InvalidArgument):
            call()
    assert (tmp_path / "out").read_bytes() == b"foreign"
    assert files_below(tmp_path) == ["out", "store"]


def test_nobody_else_reads_what_is_stored(tmp_path):
    """Blocks hold what permissions in the filesystem hide."""
    before = os.umask(0)
    try:
        store = FolderStore(tmp_path / "store")
        store.put("a/b/c", b"x")
    finally:
        os.umask(before)
    for path in [tmp_path / "store", *(tmp_path / "store").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
