"""Three metaservers, their network cut in one direction or both: a minority acknowledges nothing, a majority goes on.

Each is in a network namespace of its own; the MDS and the clients are in another one, and reach all of them but where
it says otherwise. Scenarios are coroutines that run there (support/netns.py): they begin and end with everything healed
and all replicas alike.
"""

import asyncio
import contextlib
import itertools
import os
import random
import time

import pytest
from curvefs_tool.copyset.access import Copysets
from curvefs_tool.copyset.compare import compare_replicas

from curvefs.proto import metaserver_pb2 as pb

from ..support.group_client import BROKEN, GroupClient
from ..support.netns import HUB, Network, run_inside
from ..support.real_servers import RealServers, Where, open_session

SERVERS = (1, 2, 3)
SETTINGS = {"election_timeout_ms": 500, "heartbeat_interval_ms": 500}
LONG = bool(os.environ.get("CURVEFS_TEST_LONG"))
HEALED_S = 30.0
_ATTEMPTS = 4
_prefixes = itertools.count(1)


@pytest.fixture(scope="module")
def cluster():
    """A network with a filesystem on three metaservers; returns (network, servers)."""
    with Network(SERVERS) as network:
        where = {number: Where(network.prefix(number), network.host(number)) for number in (HUB, *SERVERS)}
        mds = {"orders_after_s": 3600.0}
        with RealServers(where=where, metaserver=SETTINGS, mds=mds) as servers:
            servers.start()
            servers.create_fs()
            yield network, servers


def run(cluster, scenario, *arguments, timeout=90):
    network, servers = cluster
    try:
        return run_inside(network, scenario, servers.mds.address, *arguments, timeout=timeout)
    except BaseException as error:
        raise AssertionError(f"{error}\n{servers.logs()}") from None
    finally:
        network.heal()


# ------------------------------------------------------------------------------------------------- helpers


async def leader_of(mds, group_id, among=SERVERS):
    """Wait for a leader among these that the others of them know; returns (its id, the term)."""

    def ask():
        with Copysets([mds]) as copysets:
            answers = copysets.statuses(group_id, among)
            for id_, answer in answers.items():
                if getattr(answer, "leader_id", 0) == id_:
                    return id_, answer.term
        return None

    async with asyncio.timeout(HEALED_S):
        while (found := await asyncio.to_thread(ask)) is None:
            await asyncio.sleep(0.05)
        return found


async def all_alike(mds):
    """Wait until all replicas of all groups hold the same; returns the seconds it took."""

    def ask():
        with Copysets([mds]) as copysets:
            for one in copysets.all():
                found = compare_replicas(copysets, one.group_id)
                if found.errors or found.differing or len(found.digests) != len(SERVERS):
                    return f"{one.group_id}: {found}"
        return None

    began = time.monotonic()
    while True:
        with contextlib.suppress(*BROKEN):
            if (different := await asyncio.to_thread(ask)) is None:
                return time.monotonic() - began
            assert time.monotonic() - began < HEALED_S, different
        assert time.monotonic() - began < HEALED_S
        await asyncio.sleep(0.2)


def names(prefix, count=20):
    number = next(_prefixes)
    return [f"{prefix}-{os.getpid()}-{number}-{n}" for n in range(count)]


async def answered(client, seconds):
    """Take what comes for so long; return whether anything was acknowledged. What is refused is none."""
    before = len(client.acknowledged)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                try:
                    await client.session.exchange()
                except BROKEN:
                    await asyncio.sleep(0.1)
                    client.session.lane.rewind()
    return len(client.acknowledged) > before


async def sees(client, name):
    """Return whether a metaserver that is connected knows a name; None: it does not say."""
    try:
        async with asyncio.timeout(1.0):
            (found,) = await client.session.read({"lookup": pb.Lookup(parent=1, name=name.encode())})
    except BROKEN:
        return None
    if found.HasField("failure"):
        return None
    return found.inode.inode_id != 0


async def check_kept(mds, *clients):
    """See that replicas are alike, and that all that was acknowledged is there; then have the rest done, once."""
    await all_alike(mds)
    async with GroupClient(mds) as looker:
        there = await looker.names()
        for client in clients:
            assert client.acknowledged <= there, sorted(client.acknowledged - there)
        for client in clients:
            await client.settle()  # a creation that took effect before answers as the first time
        there = await looker.names()
        for client in clients:
            assert client.acknowledged <= there
    await all_alike(mds)


# ----------------------------------------------------------------------------------------------- scenarios


async def leader_in_a_minority(network, mds, how):
    """The leader loses its peers, not its client."""
    session = open_session(mds)
    ids = {address: id_ for id_, address in await addresses(mds)}
    async with GroupClient(mds, session) as stranded, GroupClient(mds) as moving:
        while not (address := stranded.address) or address != moving.address:
            await stranded.create(*names("before"))
            await moving.create(*names("before"))
        old = ids[address]
        others = [one for one in SERVERS if one != old]
        getattr(network, how)(old, others)
        stranded.submit(*names("stranded"))
        acknowledging = asyncio.create_task(answered(stranded, 4.0))
        began = time.monotonic()
        new, _ = await leader_of(mds, session.group_id, others)
        assert new != old
        moved = names("moved")
        await moving.create(*moved)
        took = time.monotonic() - began
        # What the new leader acknowledged is not missing in what the old one says; so it says nothing.
        async with GroupClient(mds) as reader:
            with contextlib.suppress(*BROKEN):
                await reader.connect(address)
                assert await sees(reader, moved[-1]) is not False
        assert not await acknowledging, "a minority acknowledged"
        network.heal()
        healed = await all_alike(mds)
        await check_kept(mds, stranded, moving)
    return {"moved_after_s": round(took, 2), "alike_after_s": round(healed, 2)}


async def addresses(mds):
    def ask():
        with Copysets([mds]) as copysets:
            return sorted(copysets.addresses().items())

    return await asyncio.to_thread(ask)


async def one_and_then_two(network, mds):
    """One metaserver loses everybody, then a second one: then nobody acknowledges until the network heals."""
    session = open_session(mds)
    old, _ = await leader_of(mds, session.group_id)
    second, third = (one for one in SERVERS if one != old)
    async with GroupClient(mds, session) as client, GroupClient(mds) as waiting:
        await client.create(*names("three"))
        network.cut(old, [HUB, second, third])
        await client.create(*names("two"))
        await waiting.create(*names("two"))
        network.cut(second, [third])
        waiting.submit(*names("none"))
        with contextlib.suppress(TimeoutError):
            await waiting.settle(patience=4.0)
        assert not waiting.session.lane.idle, "less than a majority acknowledged"
        assert not any(name.startswith("none") for name in waiting.acknowledged)
        network.heal()
        began = time.monotonic()
        await waiting.settle()
        took = time.monotonic() - began
        await check_kept(mds, client, waiting)
    return {"acknowledged_after_s": round(took, 2)}


async def follower_apart(network, mds, how, from_leader_only):
    """A follower loses the leader, in one direction or both: the leader stays, in its term.

    Where processes do not get their time leaders change by themselves: once out of a few times it must not.
    """
    session = open_session(mds)
    async with GroupClient(mds, session) as client:
        for _ in range(_ATTEMPTS):
            leader, term = await leader_of(mds, session.group_id)
            follower, third = (one for one in SERVERS if one != leader)
            await client.create(*names("before"))
            getattr(network, how)(follower, [leader] if from_leader_only else [leader, third])
            end, longest = time.monotonic() + 3.0, 0.0
            while time.monotonic() < end:
                began = time.monotonic()
                await client.create(*names("meanwhile", 1))
                longest = max(longest, time.monotonic() - began)
            apart = await leader_of(mds, session.group_id, [leader, third])
            network.heal()
            healed = await all_alike(mds)
            await check_kept(mds, client)
            if apart == await leader_of(mds, session.group_id) == (leader, term):
                return {"longest_pause_s": round(longest, 3), "alike_after_s": round(healed, 2)}
    raise AssertionError("a follower that was cut off, or came back, deposes the leader")


async def at_random(network, mds, seed, seconds):
    """Cuts of any kind, one after the other, under load of two clients."""
    chance = random.Random(seed)
    end = time.monotonic() + seconds

    async def load(client):
        while time.monotonic() < end:
            await client.create(*names("load", chance.randint(1, 40)))
            await asyncio.sleep(0.02)

    async def cuts():
        while time.monotonic() < end:
            number = chance.choice(SERVERS)
            others = [one for one in (HUB, *SERVERS) if one != number and chance.random() < 0.6]
            for one in others or SERVERS[: number - 1]:
                await asyncio.to_thread(getattr(network, chance.choice(["cut", "deafen", "mute"])), number, [one])
            await asyncio.sleep(chance.uniform(0.3, 2.5))
            if chance.random() < 0.7:
                await asyncio.to_thread(network.heal)
                await asyncio.sleep(chance.uniform(0.3, 1.5))
        await asyncio.to_thread(network.heal)

    async with GroupClient(mds) as one, GroupClient(mds) as other, asyncio.TaskGroup() as tasks:
        for work in (load(one), load(other), cuts()):
            tasks.create_task(work)
    healed = await all_alike(mds)
    await check_kept(mds, one, other)
    return {"acknowledged": len(one.acknowledged | other.acknowledged), "alike_after_s": round(healed, 2)}


# --------------------------------------------------------------------------------------------------- tests


@pytest.mark.parametrize("how", ["cut", "deafen", "mute"])
def test_a_leader_without_its_peers_acknowledges_nothing_and_the_others_go_on(cluster, how):
    print(run(cluster, leader_in_a_minority, how))


def test_one_alone_acknowledges_nothing_and_two_do(cluster):
    print(run(cluster, one_and_then_two))


@pytest.mark.parametrize(
    ("how", "from_leader_only"), [("cut", True), ("deafen", False), ("mute", False)], ids=["cut", "deaf", "mute"]
)
def test_a_follower_that_is_cut_off_deposes_nobody(cluster, how, from_leader_only):
    print(run(cluster, follower_apart, how, from_leader_only))


def test_cuts_at_random_lose_nothing_that_was_acknowledged(cluster):
    seconds = 300 if LONG else 12
    print(run(cluster, at_random, int(time.time()), seconds, timeout=seconds + 150))


def test_no_namespace_is_left_and_nothing_of_the_host_is_touched():
    before = os.listdir("/sys/class/net")
    with pytest.raises(ZeroDivisionError), Network([1, 2]) as network:
        assert os.path.exists(f"/run/netns/{network.names[1]}")
        assert os.listdir("/sys/class/net") == before
        raise ZeroDivisionError
    assert not any(os.path.exists(f"/run/netns/{name}") for name in network.names.values())
    assert os.listdir("/sys/class/net") == before
