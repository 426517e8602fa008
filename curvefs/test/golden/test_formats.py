"""Files of version 1 load in every later release; those of a version that does not exist yet are refused by name."""

import pytest

from curvefs.src.common.errors import StartupError, VersionUnsupported
from curvefs.src.common.exits import ExitCode
from curvefs.src.metaserver.copyset import folders
from curvefs.src.metaserver.identity import load_identity
from curvefs.src.metaserver.storage import keys
from curvefs.src.metaserver.storage.checkpoint import Checkpoint, Checkpoints
from curvefs.src.metaserver.storage.environment import Environment
from curvefs.src.metaserver.storage.snapshot import load_snapshot
from curvefs.src.metaserver.wal import recovery
from curvefs.src.process.data_folder import METASERVER, DataFolder
from curvefs.src.raft.codec import decode_configuration
from curvefs.test.golden import make as golden

NEWER = {
    golden.SEGMENT: (b"CURVEWAL\0\0\0\1", b"CURVEWAL\0\0\0\2"),
    golden.SNAPSHOT: (b"CURVEFS\0\0\0\1", b"CURVEFS\0\0\0\2"),
    golden.CHECKPOINT: (b'"format": 1', b'"format": 2'),
    golden.GROUP: (b'"format": 1', b'"format": 2'),
    golden.MARK: (b'"format": 1', b'"format": 2'),
    golden.IDENTITY: (b'"format": 1', b'"format": 2'),
}


def put(name, target, *, newer=False):
    """Put a golden file where a metaserver would look for it."""
    data = (golden.FOLDER / name).read_bytes()
    before, after = NEWER[name]
    assert data.count(before) == 1
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data.replace(before, after) if newer else data)
    return target


def load_segment(folder, **how):
    put(golden.SEGMENT, recovery.segment_path(folder, golden.SEGMENT_NUMBER), **how)
    return recovery.recover(folder)


def load_a_snapshot(folder, **how):
    path = put(golden.SNAPSHOT, folder / "file", **how)
    return load_snapshot(path, folder / "new", map_size=golden.SIZE, should_stop=lambda: False)


def load_checkpoint(folder, **how):
    path = put(golden.CHECKPOINT, folder / "0000000001.json", **how)
    path.with_suffix(".mdb").write_bytes(golden.CHECKPOINT_BYTES)
    return Checkpoints(folder).newest_good()


def load_group(folder, **how):
    return folders._read(put(golden.GROUP, folder / "group.json", **how))


def load_mark(folder, **how):
    put(golden.MARK, folder / "state.mark", **how)
    (folder / "state").mkdir()
    environment = Environment(folder, map_size=golden.SIZE, boot_id="a later boot")
    environment.close()
    return environment


def load_an_identity(folder, **how):
    data = DataFolder(folder, METASERVER)
    put(golden.IDENTITY, folder / "identity", **how)
    try:
        return load_identity(data)
    finally:
        data.close()


def test_a_log(tmp_path):
    outline = load_segment(tmp_path)
    begin, hard_state, first, _replaced, other = golden.RECORDS
    assert list(recovery.replay(outline)) == [begin, hard_state, first, other, *golden.LATER_RECORDS]
    assert (tmp_path / recovery.segment_name(1)).stat().st_size == (golden.FOLDER / golden.SEGMENT).stat().st_size


def test_a_snapshot(tmp_path):
    header = load_a_snapshot(tmp_path)
    applied = golden.APPLIED
    assert (header.index, header.term, header.time_ns) == (applied.index, applied.term, applied.time_ns)
    assert decode_configuration(header.configuration) == golden.CONFIGURATION
    (tmp_path / "g").mkdir()
    environment = Environment(tmp_path / "g", map_size=golden.SIZE, boot_id=golden.BOOT_ID)
    environment.replace(tmp_path / "new")
    with environment.read() as view:
        assert {key: value for key, value in view.pairs() if not key.startswith(keys.META)} == golden.STATE
        assert environment.applied == environment.applied_in(view) == applied
        assert environment.configuration_in(view) == header.configuration
    environment.close()


def test_the_description_of_a_checkpoint(tmp_path):
    assert load_checkpoint(tmp_path) == Checkpoint(1, tmp_path / "0000000001.mdb", 41, 26, 0xD40CBE11)


def test_the_description_of_a_group(tmp_path):
    assert load_group(tmp_path) == (7, folders.first_configuration(golden.MEMBERS))


def test_the_mark_of_a_state(tmp_path):
    assert not load_mark(tmp_path).discarded


def test_an_identity(tmp_path):
    assert load_an_identity(tmp_path) == golden.IDENTITY_SAID


@pytest.mark.parametrize(
    ("load", "name"),
    [
        (load_segment, recovery.segment_name(golden.SEGMENT_NUMBER)),
        (load_a_snapshot, "file"),
        (load_checkpoint, "0000000001.json"),
        (load_group, "group.json"),
        (load_mark, "state.mark"),
        (load_an_identity, "identity"),
    ],
)
def test_a_newer_version_is_refused_by_name(tmp_path, load, name):
    with pytest.raises((StartupError, VersionUnsupported)) as caught:
        load(tmp_path, newer=True)
    assert str(tmp_path / name) in str(caught.value)
    assert "version" in str(caught.value)
    assert load is load_a_snapshot or getattr(caught.value, "exit_code", None) is ExitCode.DATA_FOLDER
    assert any(after in (tmp_path / name).read_bytes() for _, after in NEWER.values()), (
        "the release that knows it needs it"
    )


def test_what_is_written_today_is_version_1_to_the_byte(tmp_path):
    golden.make(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NEWER)
    for name in NEWER:
        assert (tmp_path / name).read_bytes() == (golden.FOLDER / name).read_bytes(), name
