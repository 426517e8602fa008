"""Who waits for whom at a participant, on a real group: the older for the younger, never without end."""

import asyncio

import pytest
import pytest_asyncio

from curvefs.proto import state_pb2
from curvefs.proto import transaction_pb2 as t
from curvefs.src.common.errors import Locked, Unavailable, Unsupported
from curvefs.src.metaserver.metastore import transactions
from curvefs.src.metaserver.transactions import participant as participant_module
from curvefs.src.metaserver.transactions.participant import Participant

from ..copyset.lab import FS, GROUP, Lab

pytestmark = pytest.mark.asyncio
OLDER, YOUNGER = 1, 2


@pytest_asyncio.fixture
async def lab(tmp_path):
    made = Lab(tmp_path)
    await made.begin()
    yield made
    await made.stop()


def participant_of(lab):
    """One that asks nobody."""
    return Participant(lab.manager, None)  # type: ignore[arg-type]


def id_of(number):
    return t.TransactionId(group_id=9, term=1, number=number)


def prepare(number, patience_ms=5000):
    return t.PrepareRequest(
        group_id=GROUP,
        id=id_of(number),
        age=t.Age(time_ns=number, first=id_of(number)),
        fs_id=FS,
        parts=[t.Part(move_lock=t.MoveLock())],
        patience_ms=patience_ms,
    )


def finish(number):
    return t.FinishRequest(group_id=GROUP, id=id_of(number), commit=False)


async def test_the_older_gets_the_lock_when_the_younger_lets_go(lab):
    participant = participant_of(lab)
    await participant.prepare(prepare(YOUNGER))
    waiting = asyncio.create_task(participant.prepare(prepare(OLDER)))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await participant.finish(finish(YOUNGER))
    async with asyncio.timeout(2):
        assert len((await waiting).facts) == 1


async def test_a_lock_that_goes_with_the_entry_that_met_it_is_not_waited_for(lab):
    """Both entries are applied at once, and then nothing happens in the group any more."""
    participant = participant_of(lab)
    await participant.prepare(prepare(YOUNGER))
    async with asyncio.timeout(2):
        await asyncio.gather(participant.prepare(prepare(OLDER)), participant.finish(finish(YOUNGER)))


async def test_the_younger_gives_way_at_once(lab):
    participant = participant_of(lab)
    await participant.prepare(prepare(OLDER))
    async with asyncio.timeout(2):
        with pytest.raises(Locked):
            await participant.prepare(prepare(YOUNGER))


async def test_who_waits_too_long_is_told_and_holds_nothing(lab):
    participant = participant_of(lab)
    await participant.prepare(prepare(YOUNGER))
    with pytest.raises(Unavailable):
        await participant.prepare(prepare(OLDER, patience_ms=50))
    await participant.finish(finish(YOUNGER))
    applied = await lab.run(
        prepare=state_pb2.PrepareCommand(id=id_of(3), age=prepare(3).age, fs_id=FS, parts=prepare(3).parts)
    )
    assert applied.facts is not None


@pytest.mark.parametrize("waiters", [2, 32])
async def test_many_that_wait_for_one_lock_write_nothing_meanwhile(lab, waiters):
    participant = participant_of(lab)
    youngest = 1000
    await participant.prepare(prepare(youngest))
    waiting = []
    for number in range(1, waiters + 1):  # one after the other, so that each meets the lock by an entry of its own
        before = lab.group.applied_index
        waiting.append(asyncio.create_task(participant.prepare(prepare(number))))
        async with asyncio.timeout(5):
            while lab.group.applied_index == before:
                await asyncio.sleep(0.001)
    met = lab.group.applied_index
    await asyncio.sleep(0.3)
    assert lab.group.applied_index == met
    await participant.finish(finish(youngest))
    async with asyncio.timeout(5):
        done, others = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        while others:  # who was first lets go, or gave way
            for one in done:
                if one.exception() is None:
                    await participant.finish(finish(waiting.index(one) + 1))
            done, others = await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
    assert all(isinstance(one.exception(), Locked | None) for one in waiting)
    assert any(one.exception() is None for one in waiting)


async def test_who_waits_hears_of_the_end_of_the_leadership(lab):
    participant = participant_of(lab)
    await participant.prepare(prepare(YOUNGER))
    waiting = asyncio.create_task(participant.prepare(prepare(OLDER)))
    await asyncio.sleep(0.05)
    lab.group.break_(Unavailable("stopped"))
    async with asyncio.timeout(2):
        with pytest.raises(Unavailable, match="stopped"):
            await waiting


async def test_transactions_whose_end_nobody_knows_keep_none_from_being_asked_about(lab, monkeypatch):
    monkeypatch.setattr(participant_module, "_PAGE", 2)
    monkeypatch.setattr(participant_module, "_ASK_AFTER_S", 0.0)
    monkeypatch.setattr(participant_module, "_ROUND_S", 0.01)
    lost = 4  # two pages of them come before the one that can be ended

    class Coordinators:
        async def call(self, _method, request, *_):
            if request.id.number <= lost:
                raise Unavailable("gone")
            return t.QueryReply(outcome=t.ABORTED)

    participant = Participant(lab.manager, Coordinators())  # type: ignore[arg-type]
    for number in range(1, lost + 2):
        one = prepare(number)
        del one.parts[:]
        await participant.prepare(one)
    asking = asyncio.create_task(participant.run())
    try:
        async with asyncio.timeout(5):
            while len(prepared_in(lab)) > lost:
                await asyncio.sleep(0.01)
    finally:
        asking.cancel()
    assert prepared_in(lab) == set(range(1, lost + 1))


def prepared_in(lab):
    with lab.group.view() as view:
        return {id_.number for id_, _ in transactions.prepared(view, 100)}


async def test_a_part_that_this_version_does_not_know_is_refused_before_the_log(lab):
    request = prepare(OLDER)
    request.parts.add()
    with pytest.raises(Unsupported):
        await participant_of(lab).prepare(request)
    assert lab.group.broken is None
