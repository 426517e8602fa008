"""The staging folder: what counts after a crash, what is put aside, and what room there is."""

import errno
import os
import shutil
import time

import pytest
import structlog

from curvefs.proto import metaserver_pb2, staging_pb2
from curvefs.src.client.cache import block_files, staging
from curvefs.src.client.cache.staging import StagedBlockDamaged, Staging, StagingFailed

from .lab import name_of


def opened(tmp_path, size_max=10_000, identity=b"i", time_s=time.time):
    return Staging(
        tmp_path / "staging",
        size_max=size_max,
        free_space=0.0,
        random_bytes=lambda size: identity * size,
        time_s=time_s,
    )


def names_of(one):
    return [(0, name_of(one.slice.chunk_id & 0xFFFF))]


def stage(folder, number, data=b"data"):
    name = name_of(number)
    folder.put(name, data)
    one = staging_pb2.StagedSlice(
        identity=folder.identity,
        inode_id=2,
        slice=metaserver_pb2.Slice(chunk_id=5 << 40 | number, length=len(data), size=len(data)),
        blocks=[folder.block(name, 0)],
    )
    return folder.commit([one])[0]


def test_what_is_staged_is_found_in_order_by_the_next_mount(tmp_path):
    folder = opened(tmp_path)
    for number in (3, 1, 2):
        stage(folder, number)
    again = opened(tmp_path, identity=b"x")
    assert again.found_identity
    assert again.identity == folder.identity
    found = again.look(names_of)
    assert [one.slice.chunk_id & 0xFFFF for _, one in found] == [3, 1, 2]
    assert again.bytes == 12
    assert again.whole(name_of(1)) == b"data"
    assert stage(again, 4) > found[-1][0]


def test_blocks_without_a_record_and_half_written_records_are_removed(tmp_path):
    folder = opened(tmp_path)
    stage(folder, 1)
    folder.put(name_of(2), b"never committed")
    (folder.path / "0000000000000009.slice.new").write_bytes(b"half")
    again = opened(tmp_path)
    again.look(names_of)
    assert len(list(again.path.iterdir())) == 4
    assert not again.has(name_of(2))


@pytest.mark.parametrize("harm", ["torn", "flipped", "block gone", "block cut", "of another identity"])
def test_what_is_damaged_is_put_aside_with_its_block(tmp_path, harm):
    folder = opened(tmp_path)
    stage(folder, 1)
    number = stage(folder, 2)
    record = folder.path / f"{number:016x}.slice"
    block = folder.path / name_of(2).rpartition("/")[2]
    match harm:
        case "torn":
            os.truncate(record, 20)
        case "flipped":
            data = bytearray(record.read_bytes())
            data[-1] ^= 1
            record.write_bytes(data)
        case "block gone":
            block.unlink()
        case "block cut":
            os.truncate(block, block.stat().st_size - 1)
        case _:
            folder.identity = b"o" * 16
            folder.replace(number, staging_pb2.StagedSlice(identity=folder.identity))
    again = opened(tmp_path)
    assert [one.slice.chunk_id & 0xFFFF for _, one in again.look(names_of)] == [1]
    assert record.with_suffix(".damaged").exists()
    assert block.exists() == (harm != "block gone")
    assert not again.is_empty


def test_what_was_put_aside_is_removed_with_its_block_after_a_week(tmp_path):
    folder = opened(tmp_path)
    stage(folder, 1)
    folder.put_aside(stage(folder, 2))
    before = {path.name for path in folder.path.iterdir()}
    days = 24 * 3600
    for age_s, kept in ((6 * days, True), (8 * days, False)):
        again = opened(tmp_path, time_s=lambda age_s=age_s: time.time() + age_s)
        assert len(again.look(names_of)) == 1
        left = {path.name for path in again.path.iterdir()}
        assert (left == before) == kept
    assert before - left == {"0000000000000002.damaged", name_of(2).rpartition("/")[2]}


def test_what_is_put_aside_does_not_replace_what_was_put_aside_before(tmp_path):
    for number in (1, 2):
        folder = opened(tmp_path)
        folder.look(names_of)
        folder.put_aside(stage(folder, number))  # and no record is left
    assert len(list(folder.path.glob("*.damaged"))) == 2


def test_a_copy_of_a_folder_in_which_something_is_staged_is_refused(tmp_path):
    folder = opened(tmp_path / "one")
    number = stage(folder, 1)
    shutil.copytree(folder.path, tmp_path / "other" / "staging")
    with pytest.raises(StagingFailed, match="is a copy"):
        opened(tmp_path / "other")
    assert opened(tmp_path / "one").identity == folder.identity
    (tmp_path / "other" / "staging" / "place").unlink()  # it was moved
    moved = opened(tmp_path / "other", identity=b"x")
    assert moved.identity == folder.identity
    assert [found for found, _ in moved.look(names_of)] == [number]
    assert opened(tmp_path / "other", identity=b"x").found_identity


def test_a_copy_in_which_nothing_is_staged_has_another_identity(tmp_path):
    folder = opened(tmp_path / "one")
    shutil.copytree(folder.path, tmp_path / "other" / "staging")
    other = opened(tmp_path / "other", identity=b"x")
    assert not other.found_identity
    assert other.identity != folder.identity
    assert opened(tmp_path / "other").identity == other.identity


def test_a_flipped_byte_of_a_staged_block_is_found_before_it_is_stored(tmp_path):
    folder = opened(tmp_path)
    stage(folder, 1)
    block = folder.path / name_of(1).rpartition("/")[2]
    data = bytearray(block.read_bytes())
    data[block_files.HEADER_SIZE] ^= 1
    block.write_bytes(data)
    with pytest.raises(StagedBlockDamaged):
        folder.whole(name_of(1))


def test_room_is_reserved_before_it_is_taken(tmp_path):
    folder = opened(tmp_path, size_max=100)
    assert folder.reserve(60)
    assert not folder.reserve(60)
    folder.release(60)
    assert folder.reserve(60)


def test_a_disk_that_takes_no_record_leaves_none(tmp_path, monkeypatch):
    folder = opened(tmp_path)

    def fails(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(staging, "sync_folder", fails)
    with pytest.raises(StagingFailed):
        stage(folder, 1)
    monkeypatch.undo()
    assert opened(tmp_path).look(names_of) == []


def test_a_record_that_the_disk_does_not_remove_is_removed_later(tmp_path, monkeypatch):
    folder = opened(tmp_path)
    number = stage(folder, 1)

    def fails(*_args, **_more):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(type(folder.path), "unlink", fails)
    with structlog.testing.capture_logs() as logs:
        folder.forget(number)
        folder.clean()
    assert [one["record"] for one in logs] == [number]
    monkeypatch.undo()
    assert not folder.is_empty
    folder.clean()
    assert folder.is_empty


def test_what_is_staged_on_a_disk_that_is_gone_still_counts(tmp_path):
    folder, disk = opened(tmp_path), tmp_path / "the disk, mounted elsewhere"
    number = stage(folder, 1)
    folder.path.rename(disk)
    folder.path.mkdir()
    assert not folder.is_empty
    folder.forget(number)  # which does not reach the disk
    assert not folder.is_empty
    folder.path.rmdir()
    disk.rename(folder.path)
    assert [found for found, _ in opened(tmp_path).look(names_of)] == [number]


def test_nothing_is_staged_where_the_disk_was(tmp_path):
    folder = opened(tmp_path)
    folder.put(name_of(1), b"data")
    folder.path.rename(tmp_path / "the disk, mounted elsewhere")
    folder.path.mkdir()
    with pytest.raises(StagingFailed):
        folder.put(name_of(2), b"data")
    with pytest.raises(StagingFailed):
        folder.commit([staging_pb2.StagedSlice(blocks=[folder.block(name_of(1), 0)])])
    with pytest.raises(StagingFailed):
        folder.replace(1, staging_pb2.StagedSlice())
    assert not folder.has(name_of(2))
    assert list(folder.path.iterdir()) == []


def test_an_identity_that_the_disk_does_not_take_is_not_used(tmp_path, monkeypatch):
    folder = opened(tmp_path)

    def fails(*_args, **_more):
        raise OSError(errno.ENOSPC, "No space left on device")

    folder._random_bytes = lambda size: b"n" * size
    monkeypatch.setattr(folder, "_write", fails)
    with pytest.raises(StagingFailed):
        folder.renew_identity()
    monkeypatch.undo()
    number = stage(folder, 1)
    assert [found for found, _ in opened(tmp_path).look(names_of)] == [number]
    assert folder.renew_identity() == folder.identity == opened(tmp_path).identity == b"n" * 16


def test_an_identity_is_taken_anew_when_the_one_before_is_forgotten(tmp_path):
    folder = opened(tmp_path)
    assert folder.is_empty
    folder.forget_identity()
    assert list(folder.path.iterdir()) == []
    again = opened(tmp_path, identity=b"j")
    assert not again.found_identity
    assert again.identity == b"j" * 16
    assert (again.path / "identity").stat().st_mode & 0o077 == 0
