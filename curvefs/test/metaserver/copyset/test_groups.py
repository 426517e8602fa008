"""Groups: batches, recovery, checkpoints, full disks."""

import asyncio
import errno
import subprocess
from dataclasses import replace

import pytest

from curvefs.proto import common_pb2, state_pb2
from curvefs.src.common.errors import (
    CurveFSError,
    InternalError,
    NoSpace,
    Overloaded,
    Redirect,
    ResourceBusy,
    StartupError,
    Unavailable,
    WrongPartition,
)
from curvefs.src.common.exits import ExitCode
from curvefs.src.metaserver.copyset import applying, awaiting, proposals
from curvefs.src.metaserver.metastore import apply, reads
from curvefs.src.metaserver.wal import recovery
from curvefs.src.metaserver.wal.segments import LogSettings

from .lab import FS, GROUP, PATIENCE_S, SESSION, Lab, until_leads

pytestmark = pytest.mark.asyncio


def sample(lab, name):
    return lab.metrics.registry.get_sample_value(f"metaserver_{name}")


def no_session(group):
    with group.view() as view:
        return not reads.open_sessions(view, 10)


def newest_segment(lab):
    return max((lab.folder / "wal").glob("*.wal"))


async def test_what_is_acknowledged_is_there_after_a_crash(tmp_path):
    lab = Lab(tmp_path)
    await lab.begin()
    for _ in range(5):
        await lab.create(3)
    before, names = lab.digest(), lab.names()
    await lab.crash()
    await lab.started()
    assert (lab.digest(), lab.names(), len(names)) == (before, names, 15)
    await lab.create(prefix="after")
    await lab.stop()


async def test_a_replica_that_joins_heeds_no_leader_of_before_not_after_a_crash_either(tmp_path):
    lab = Lab(tmp_path)
    lab.start()
    await lab.manager.create(GROUP, [], term=5)
    assert (lab.group.raft.term, lab.group.raft.hard_state.joining) == (5, True)
    await lab.lose_power()
    lab.start()
    assert (lab.group.raft.term, lab.group.raft.hard_state.joining) == (5, True)
    await lab.stop()


async def test_entries_that_are_only_in_the_log_are_applied_after_a_crash(tmp_path):
    lab = Lab(tmp_path)
    await lab.begin()
    await lab.create(4)
    before = lab.digest()
    await lab.crash()
    (tmp_path / "groups" / str(GROUP) / "state" / "data.mdb").unlink()
    await lab.started()
    assert not lab.group.environment.discarded
    assert lab.digest() == before
    await lab.stop()


async def test_a_clean_stop_keeps_the_state_over_a_reboot(tmp_path):
    lab = Lab(tmp_path)
    await lab.begin()
    await lab.create(4)
    before = lab.digest()
    await lab.stop()
    lab.boot_id = "boot 2"
    await lab.started()
    assert not lab.group.environment.discarded
    assert lab.digest() == before
    await lab.stop()


@pytest.mark.parametrize("checkpoints", [0, 1, 3])
async def test_after_a_power_cut_the_rebuilt_state_is_the_same_byte_for_byte(tmp_path, checkpoints):
    lab = Lab(tmp_path)
    await lab.begin()
    for n in range(8):
        await lab.create(4)
        if n < checkpoints:
            await lab.checkpoint()
    before = lab.digest()
    await lab.lose_power()
    await lab.started()
    assert lab.group.environment.discarded
    assert lab.digest() == before
    await lab.stop()


async def test_a_damaged_newest_checkpoint_costs_nothing(tmp_path):
    lab = Lab(tmp_path, segment_size=100)
    await lab.begin()
    for _ in range(4):
        await lab.create(20)
        await lab.checkpoint()
        await lab.checkpoint_where_due()
    before = lab.digest()
    newest = lab.group.checkpoints.kept[-1].path
    await lab.lose_power()
    newest.write_bytes(b"\0" * 100)
    await lab.started()
    assert lab.digest() == before
    await lab.stop()


async def test_without_log_or_checkpoint_a_group_serves_nothing(tmp_path):
    lab = Lab(tmp_path, segment_size=100)
    await lab.begin()
    for _ in range(4):
        await lab.create(20)
        await lab.checkpoint()
        await lab.checkpoint_where_due()
    kept = [one.path for one in lab.group.checkpoints.kept]
    await lab.lose_power()
    for path in kept:
        path.unlink()
    lab.start()
    assert f"group {GROUP}" in str(lab.manager.damaged[GROUP])
    with pytest.raises(Redirect):
        lab.manager.get(GROUP)
    await lab.stop()


async def test_the_log_is_checkpointed_and_trimmed_when_it_outgrew_the_state(tmp_path):
    lab = Lab(tmp_path, segment_size=4000, checkpoint_log_size=5000)
    await lab.begin()
    await lab.checkpoint_where_due()
    assert lab.group.checkpoints.kept == [], "not before"
    for _ in range(60):
        for _ in range(20):
            await lab.propose(lab.noops(100))
        await lab.checkpoint_where_due()
    base = lab.group.checkpoints.base_index
    assert base > 100
    first = recovery.recover(tmp_path / "wal").groups[GROUP].first_index
    assert base - 100 < first <= base + 1, "the log begins within a segment of the older checkpoint"
    before = lab.digest()
    await lab.lose_power()
    await lab.started()
    assert lab.group.environment.discarded
    assert lab.digest() == before
    await lab.stop()


async def test_an_idle_group_does_not_pin_the_log(tmp_path):
    lab = Lab(tmp_path, segment_size=4000, log_size_max=8000)
    await lab.begin()
    await lab.make(9)
    idle = lab.manager.get(9)
    await awaiting.run(
        idle,
        state_pb2.Entry(format=1, open_session=state_pb2.OpenSessionCommand(fs_id=2, session_id=SESSION)),
        PATIENCE_S,
    )
    for _ in range(60):
        await lab.create(20)
    for _ in range(3):
        await lab.checkpoint_where_due()
    assert recovery.recover(tmp_path / "wal").segments[0].number > 1
    assert idle.checkpoints.base_index == idle.applied_index
    await lab.stop()


async def test_a_log_cut_short_by_hand_keeps_the_state_and_goes_on(tmp_path):
    lab = Lab(tmp_path)
    await lab.begin()
    await lab.create(2)
    await lab.create(2)
    before = lab.digest()
    await lab.stop()
    newest = newest_segment(lab)
    newest.write_bytes(newest.read_bytes()[:-3])
    await lab.started()
    assert lab.digest() == before
    await lab.create(2)
    before = lab.digest()
    await lab.lose_power()
    await lab.started()
    assert lab.digest() == before
    await lab.stop()


async def test_a_damaged_middle_of_the_log_refuses_naming_file_and_offset(tmp_path):
    lab = Lab(tmp_path)
    await lab.begin()
    for _ in range(4):
        await lab.create(2)
    await lab.stop()
    data = bytearray(newest_segment(lab).read_bytes())
    data[len(data) // 2] ^= 0x10
    newest_segment(lab).write_bytes(data)
    with pytest.raises(StartupError, match=rf"{newest_segment(lab)} .* byte \d+") as caught:
        lab.start()
    assert caught.value.exit_code is ExitCode.DAMAGED


async def test_entry_times_and_terms_rise(tmp_path):
    lab = Lab(tmp_path)
    await lab.begin()
    terms, times = [], []
    for _ in range(3):
        for _ in range(3):
            await lab.create()
            times.append(lab.group.environment.applied.time_ns)
        terms.append(lab.group.term)
        await lab.crash()
        await lab.started()
    await lab.stop()
    entries = list(recovery.entries(recovery.recover(tmp_path / "wal")))
    assert times == sorted(set(times)), "the clock stands still"
    assert terms == sorted(set(terms))
    assert [one.index for one in entries] == list(range(1, len(entries) + 1))


async def test_64_operations_in_flight_share_syncs_8_or_more_each(tmp_path):
    lab = Lab(tmp_path)
    await lab.begin()
    before = [sample(lab, name) for name in ("operations_total", "log_syncs_total")]

    async def worker():
        for _ in range(30):
            outcome = await lab.propose(lab.batch(1, unacknowledged=64))
            assert not outcome.results.results[0].status

    await asyncio.gather(*(worker() for _ in range(64)))
    after = [sample(lab, name) for name in ("operations_total", "log_syncs_total")]
    operations, syncs = (new - old for new, old in zip(after, before, strict=True))
    assert operations == 64 * 30
    assert operations / syncs >= 8
    await lab.stop()


async def test_repeated_operations_get_their_first_answer_also_after_a_crash(tmp_path):
    lab = Lab(tmp_path)
    await lab.begin()
    batch = lab.batch(3)
    first = (await lab.propose(batch)).results
    again = (await lab.propose(batch)).results
    await lab.crash()
    await lab.started()
    after = (await lab.propose(batch)).results
    assert list(first.results) == list(again.results) == list(after.results)
    assert len(lab.names()) == 3
    await lab.stop()


async def test_a_group_is_made_once_and_listed_after_a_restart(tmp_path):
    lab = Lab(tmp_path)
    await lab.begin()
    group = lab.group
    await lab.make(GROUP)
    assert lab.group is group
    await lab.stop()
    await lab.started()
    assert [one.group_id for one in lab.manager.all()] == [GROUP]
    await lab.stop()


async def test_a_group_with_partitions_is_not_removed(tmp_path):
    lab = Lab(tmp_path)
    await lab.begin()
    with pytest.raises(ResourceBusy):
        await lab.manager.remove(GROUP)
    await lab.create()
    await lab.stop()


async def test_a_group_made_again_begins_empty(tmp_path):
    lab = Lab(tmp_path)
    await lab.started()
    await lab.make(9)
    opening = state_pb2.Entry(format=1, open_session=state_pb2.OpenSessionCommand(fs_id=FS, session_id=SESSION))
    await awaiting.run(lab.manager.get(9), opening, PATIENCE_S)
    await lab.manager.remove(9)
    await lab.manager.remove(9)
    with pytest.raises(WrongPartition):
        lab.manager.get(9)
    await lab.make(9)
    assert no_session(lab.manager.get(9))
    await lab.lose_power()
    await lab.started()
    assert no_session(lab.manager.get(9))
    await lab.stop()


async def test_too_much_at_once_is_refused_not_queued(tmp_path):
    lab = Lab(tmp_path)
    await lab.begin()
    refused = 0
    futures = []
    while not refused:
        future = lab.propose(lab.batch(256))
        if future.done():
            assert isinstance(future.result(), Overloaded)
            refused += 1
        futures.append(future)
        assert len(futures) * 256 <= proposals.QUEUE_OPERATIONS_MAX + 256
    await asyncio.wait(futures)
    await lab.stop()


async def test_an_entry_that_cannot_be_applied_stops_its_group_alone(tmp_path, monkeypatch):
    lab = Lab(tmp_path)
    await lab.begin()
    await lab.make(9)

    def bug(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(applying, "apply", bug)
    outcome = await lab.propose(lab.batch(1))
    assert outcome.failure is not None
    monkeypatch.undo()
    with pytest.raises(InternalError):
        await lab.create()
    opening = state_pb2.Entry(format=1, open_session=state_pb2.OpenSessionCommand(fs_id=FS, session_id=SESSION))
    await awaiting.run(lab.manager.get(9), opening, PATIENCE_S)
    await lab.stop()


async def test_an_entry_of_a_newer_version_stops_its_group_until_it_is_known(tmp_path, monkeypatch):
    lab = Lab(tmp_path)
    await lab.begin()
    with monkeypatch.context() as older:
        older.setattr(apply, "FORMAT", 0)  # so this version is the newer one
        outcome = await lab.propose(lab.batch(1))
        assert outcome.failure.code == common_pb2.UNAVAILABLE
        with pytest.raises(Unavailable, match="newer version"):
            await lab.create()
        await lab.stop()
        lab.start()
        async with asyncio.timeout(PATIENCE_S):
            while lab.group.broken is None:
                await asyncio.sleep(0.001)
        await lab.stop()
    await lab.started()
    assert len(lab.names()) == 1
    await lab.stop()


async def test_an_operation_that_its_leader_does_not_know_stops_no_group(tmp_path):
    lab = Lab(tmp_path)
    await lab.begin()
    batch = lab.batch(3)
    batch.operations[1].Clear()
    batch.operations[2].preconditions.add()
    results = (await lab.propose(batch)).results.results
    assert [one.status for one in results] == [common_pb2.OK, common_pb2.UNSUPPORTED, common_pb2.UNSUPPORTED]
    await lab.create()
    await lab.stop()


async def test_what_is_logged_and_finds_no_room_waits_and_is_applied_once_there_is(tmp_path, monkeypatch):
    lab = Lab(tmp_path)
    await lab.begin()
    environment, real, full = lab.group.environment, lab.group.environment.write, [True]

    def write():
        if full[0]:
            raise NoSpace("full")
        return real()

    monkeypatch.setattr(environment, "write", write)
    waiting = lab.propose(lab.batch(2))
    while lab.group.raft.log.committed == lab.group.applied_index:
        await asyncio.sleep(0)
    with pytest.raises(NoSpace):
        await lab.create()
    assert not waiting.done()
    full[0] = False
    outcome = await asyncio.wait_for(waiting, PATIENCE_S)
    assert len(outcome.results.results) == len(lab.names()) == 2
    await lab.stop()


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("reserve", [0, 4 << 20])
async def test_a_full_disk_answers_no_space_damages_nothing_and_heals(small_disk, reserve):
    lab = Lab(small_disk, reserve=reserve)
    await lab.begin()
    await lab.create(10)
    with (small_disk / "ballast").open("wb", buffering=0) as ballast:
        try:
            while ballast.write(bytes(1 << 16)):
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC
    futures = []
    for _ in range(60):
        futures.append(lab.propose(lab.batch(20, prefix="full")))
        await asyncio.wait(futures[-1:], timeout=0.2)
    refused = [one for one in futures if one.done() and isinstance(one.result(), NoSpace)]
    assert refused
    (small_disk / "ballast").unlink()
    await asyncio.wait(futures, timeout=PATIENCE_S)
    done = [
        result for one in futures if not isinstance(one.result(), NoSpace) for result in one.result().results.results
    ]
    assert len(lab.names()) == 10 + sum(not result.status for result in done)
    lab.take_up_lane()
    await lab.create(3, prefix="healed")
    before = lab.digest()
    await lab.lose_power()
    await lab.started()
    assert lab.digest() == before
    await lab.stop()


async def test_a_group_at_its_size_limit_keeps_no_other_from_starting_and_goes_on_when_it_is_raised(tmp_path):
    lab = Lab(tmp_path)
    await lab.begin()
    await lab.make(6)
    for _ in range(3):
        await lab.create(100, prefix="x" * 150)
    before = lab.digest()
    last = lab.group.applied_index
    await lab.crash()
    (tmp_path / "groups" / str(GROUP) / "state" / "data.mdb").unlink()
    lab.settings = replace(lab.settings, map_size=100 << 10)
    lab.start()
    await until_leads(lab.manager.get(6))
    assert lab.group.applied_index < last
    assert lab.group.raft.log.last_index >= last
    with pytest.raises(CurveFSError):
        await lab.create()
    await lab.crash()
    lab.settings = replace(lab.settings, map_size=1 << 28)
    await lab.started()
    assert lab.digest() == before
    await lab.stop()


async def test_a_removal_that_failed_half_way_is_said_and_finished_when_it_is_asked_again(tmp_path, monkeypatch):
    lab = Lab(tmp_path)
    await lab.begin()
    await lab.make(6)

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr("shutil.rmtree", fail)
        for _ in range(2):
            with pytest.raises(OSError, match="Input/output error"):
                await lab.manager.remove(6)
            assert "not finished" in str(lab.manager.damaged[6])
    with pytest.raises(ResourceBusy):
        await lab.make(6)
    await lab.manager.remove(6)
    assert not lab.manager.damaged
    assert not (tmp_path / "groups" / "6").exists()
    await lab.make(6)
    await lab.stop()


async def test_a_group_is_removed_though_the_disk_does_not_take_its_state(tmp_path, monkeypatch):
    lab = Lab(tmp_path)
    await lab.begin()
    await lab.make(6)

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(lab.manager.get(6).environment, "_sync", fail)
    await lab.manager.remove(6)
    assert not (tmp_path / "groups" / "6").exists()
    await lab.stop()


async def test_a_full_disk_at_the_start_of_a_replica_that_begins_anew_is_one_line(tmp_path):
    lab = Lab(tmp_path)
    await lab.begin()
    await lab.create()
    await lab.crash()
    newest_segment(lab).unlink()  # the state has more than the log
    lab.settings = replace(lab.settings, log=LogSettings(1 << 20, 1 << 60))
    with pytest.raises(StartupError, match="full") as caught:
        lab.start()
    assert caught.value.exit_code is ExitCode.FAILED


async def test_an_entry_that_cannot_be_applied_keeps_no_other_group_from_starting(tmp_path, monkeypatch):
    lab = Lab(tmp_path)
    await lab.begin()
    await lab.make(6)
    for _ in range(3):
        await lab.create()
        await lab.crash()
        await lab.started()
    await lab.crash()
    (tmp_path / "groups" / str(GROUP) / "state" / "data.mdb").unlink()
    apply_entries = applying.apply_entries

    def meets_a_bug(environment, entries):
        if environment._folder.name == str(GROUP):
            raise RuntimeError("a bug")
        return apply_entries(environment, entries)

    for module in ("recovery", "group"):
        monkeypatch.setattr(f"curvefs.src.metaserver.copyset.{module}.apply_entries", meets_a_bug)
    lab.start()
    await until_leads(lab.manager.get(6))
    assert isinstance(lab.group.broken, InternalError)
    await lab.stop()
