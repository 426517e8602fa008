"""What keeps the log, and what does not."""

import errno

import pytest

from curvefs.proto import state_pb2
from curvefs.src.common.errors import InternalError
from curvefs.src.metaserver.copyset import awaiting
from curvefs.src.metaserver.copyset.recovery import Recovering
from curvefs.src.metaserver.wal.format import Record, RecordType

from .lab import GROUP, PATIENCE_S, Lab

pytestmark = pytest.mark.asyncio

OTHER = 6


async def write(lab, count=30):
    """Other groups go on."""
    for _ in range(count):
        end = state_pb2.EndSessionCommand(session_id=b"s" * 1000)
        await awaiting.run(lab.manager.get(OTHER), state_pb2.Entry(format=1, end_session=end), PATIENCE_S)


def segments(lab):
    return len(list((lab.folder / "wal").glob("*.wal")))


def count_copies(group):
    made = []
    make = group.checkpoints.make
    group.checkpoints.make = lambda environment, **how: made.append(group.applied_index) or make(environment, **how)
    return made


async def lose_the_end_of_the_log(lab):
    """The log is one of a while ago; the state, of a replica that is not alone, has more."""
    await lab.stop()
    old = {path.name: path.read_bytes() for path in (lab.folder / "wal").iterdir()}
    await lab.started()
    await lab.create()
    await lab.stop()
    for path in (lab.folder / "wal").iterdir():
        path.unlink()
    for name, content in old.items():
        (lab.folder / "wal" / name).write_bytes(content)


async def test_a_damaged_replica_keeps_no_segment_and_stays_damaged(tmp_path, monkeypatch):
    lab = Lab(tmp_path, segment_size=4000, log_size_max=8000)
    await lab.begin()
    await lab.make(OTHER)
    await lab.create()
    await lose_the_end_of_the_log(lab)
    monkeypatch.setattr(Recovering, "_ends_early", _as_one_of_several)
    await lab.started()
    assert list(lab.manager.damaged) == [GROUP]
    await write(lab)
    await lab.checkpoint_where_due()
    await lab.checkpoint_where_due()
    assert segments(lab) < 4
    for end in (lab.stop, lab.lose_power):
        await end()
        await lab.started()
        assert list(lab.manager.damaged) == [GROUP]
    await lab.stop()


def _as_one_of_several(self, applied, alone=Recovering._ends_early):
    if self.group_id != GROUP:
        alone(self, applied)
        return
    raise self._damaged(f"its log ends with entry {self._last_index}, its state with {applied.index}")


async def test_of_a_group_that_stands_still_no_more_copies_are_made_than_two(tmp_path):
    lab = Lab(tmp_path, segment_size=4000, log_size_max=8000)
    await lab.begin()
    await lab.make(OTHER)
    group = lab.group
    last = group.raft.log.last_index
    group.break_(InternalError("an entry cannot be applied"))
    await lab.manager._wal.append([Record(RecordType.ENTRY, GROUP, group.raft.term, last + 1, b"\0x")])
    copies = count_copies(group)
    for _ in range(5):
        await write(lab)
        await lab.checkpoint_where_due()
    assert len(copies) == 2
    assert segments(lab) > 4, "its entries are needed"
    await lab.crash()


async def test_a_checkpoint_that_fails_holds_up_neither_the_others_nor_the_log(tmp_path, monkeypatch):
    lab = Lab(tmp_path, segment_size=4000, checkpoint_log_size=4000, log_size_max=8000)
    await lab.begin()
    await lab.make(OTHER)
    await lab.checkpoint()
    await lab.checkpoint()
    checkpointing = lab.manager.checkpointing()
    await lab.create()
    failing, tried = lab.group, []

    def fail(environment, **how):
        tried.append(environment)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(failing.checkpoints, "make", fail)
    failing.bytes_since_checkpoint = 1 << 30
    assert lab.manager.all()[0] is failing, "it comes first"
    for _ in range(3):
        await write(lab)
        await checkpointing.where_due()
    assert len(lab.manager.get(OTHER).checkpoints.kept) == 2
    assert len(tried) == 1, "it is tried again later"
    await lab.crash()


async def test_a_snapshot_that_was_adopted_and_not_installed_keeps_the_log_from_the_state_on(tmp_path):
    lab = Lab(tmp_path, segment_size=4000)
    await lab.begin()
    await lab.create(5)
    index = lab.group.applied_index
    for ahead in (100, 200):
        lab.group.checkpoints._make(index + ahead, lab.group.environment.copy, adopted=True)
    assert lab.manager.checkpointing()._bases() == {GROUP: index}
    await lab.create(5)
    behind = lab.group.applied_index
    await lab.checkpoint()
    assert lab.group.checkpoints.base_index == behind, "not that of the older one"
    await lab.stop()


async def test_a_group_whose_state_the_disk_has_not_taken_is_stopped_and_rebuilt_at_the_next_start(tmp_path):
    lab = Lab(tmp_path)
    await lab.begin()
    await lab.create(5)
    before = lab.digest()
    lab.group.environment.is_lost = True
    with pytest.raises(OSError, match="has not taken the state"):
        await lab.checkpoint()
    assert lab.group.broken is not None
    await lab.stop()
    await lab.started()
    assert lab.digest() == before
    await lab.stop()
