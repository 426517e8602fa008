"""A damaged log is set aside whole, wherever an earlier attempt was interrupted; what is good is left alone."""

from pathlib import Path

import pytest

from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode
from curvefs.src.metaserver.copyset.set_aside import set_damaged_log_aside
from curvefs.src.metaserver.wal import format as fmt
from curvefs.src.metaserver.wal import recovery
from curvefs.src.metaserver.wal.format import Record, RecordType

GROUPS = ("1", "7")
RENAMES = 5  # of one attempt: two descriptions, the groups, the descriptions, the log


def log(*, damaged):
    """Return the bytes of a segment of three writes; the middle one may be damaged."""
    header = fmt.encode_header(1, 5)
    seed = fmt.decode_header(header).seed
    data = header
    for index in (1, 2, 3):
        data += fmt.encode([Record(RecordType.ENTRY, 1, 1, index, b"x" * 50)], len(data), seed)
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :] if damaged else data


@pytest.fixture
def folder(tmp_path):
    """A data folder whose log is damaged."""
    (tmp_path / "wal").mkdir()
    (tmp_path / "wal" / recovery.segment_name(1)).write_bytes(log(damaged=True))
    for name in GROUPS:
        (tmp_path / "groups" / name / "state").mkdir(parents=True)
        (tmp_path / "groups" / name / "state" / "data.mdb").write_bytes(b"state")
        (tmp_path / "groups" / name / "group.json").write_bytes(name.encode())
    return tmp_path


def is_set_aside(folder, number=1):
    aside = folder / f"damaged-{number}"
    assert (aside / "wal" / recovery.segment_name(1)).read_bytes() == log(damaged=True)
    assert not (folder / "wal").exists()
    for name in GROUPS:
        assert (aside / "groups" / name / "state" / "data.mdb").read_bytes() == b"state"
        assert [one.name for one in (folder / "groups" / name).iterdir()] == ["group.json"]
        assert (folder / "groups" / name / "group.json").read_bytes() == name.encode()
    assert {one.name for one in folder.iterdir()} == {"groups", *(f"damaged-{n}" for n in range(1, number + 1))}


def test_a_damaged_log_goes_with_all_states_and_descriptions_stay(folder):
    set_damaged_log_aside(folder)
    is_set_aside(folder)


def test_a_good_log_and_none_are_left_alone(folder, tmp_path):
    segment = folder / "wal" / recovery.segment_name(1)
    segment.write_bytes(log(damaged=False))
    set_damaged_log_aside(folder)
    assert segment.read_bytes() == log(damaged=False)
    assert (folder / "groups" / "1" / "state" / "data.mdb").exists()
    empty = tmp_path / "empty"
    empty.mkdir()
    set_damaged_log_aside(empty)
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize("works", range(RENAMES))
@pytest.mark.parametrize("started_between", [False, True])
def test_an_attempt_that_was_interrupted_is_carried_on(folder, monkeypatch, works, started_between):
    rename, left = Path.rename, iter(range(works))

    def fails_at_last(self, target):
        if next(left, None) is None:
            raise OSError(5, "interrupted")
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", fails_at_last)
        with pytest.raises(StartupError) as raised:
            set_damaged_log_aside(folder)
        assert raised.value.exit_code is ExitCode.FAILED
    # Whoever starts without the flag now is refused: it would not know what is missing.
    with pytest.raises(StartupError) as raised:
        recovery.recover(folder / "wal")
    assert raised.value.exit_code is ExitCode.DAMAGED
    if started_between:
        (folder / "groups").mkdir(exist_ok=True)
    set_damaged_log_aside(folder)
    is_set_aside(folder)


def test_the_second_damaged_log_is_set_aside_beside_the_first(folder):
    set_damaged_log_aside(folder)
    (folder / "wal").mkdir()
    (folder / "wal" / recovery.segment_name(1)).write_bytes(log(damaged=True))
    for name in GROUPS:
        (folder / "groups" / name / "state").mkdir()
        (folder / "groups" / name / "state" / "data.mdb").write_bytes(b"state")
    set_damaged_log_aside(folder)
    is_set_aside(folder, 2)


def test_a_log_of_a_newer_version_is_not_taken_for_damaged(folder):
    segment = folder / "wal" / recovery.segment_name(1)
    data = bytearray(log(damaged=False))
    data[11] = 99
    segment.write_bytes(data)
    with pytest.raises(StartupError) as raised:
        set_damaged_log_aside(folder)
    assert raised.value.exit_code is ExitCode.DATA_FOLDER
    assert segment.exists()
