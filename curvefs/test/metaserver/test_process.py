"""curvefs-metaserver as a real process: sessions, kill -9 under load, restarts, exit codes."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request

import pytest

from curvefs.proto import common_pb2, copyset_pb2, heartbeat_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.errors import (
    CurveFSError,
    InvalidArgument,
    ResourceBusy,
    SessionEnded,
    StaleEpoch,
    WrongPartition,
)
from curvefs.src.common.exits import ExitCode
from curvefs.src.common.tokens import membership_proof
from curvefs.test.support.fake_mds import FakeMds
from curvefs.test.support.metaserver_client import METASERVER_ID, SessionClient, call, make_partition

pytestmark = [pytest.mark.asyncio, pytest.mark.system]
PATIENCE_S = 30.0
FS, GROUP, SESSION = 3, 11, b"S" * 16


def command(data, *flags):
    return [sys.executable, "-m", "curvefs.src.metaserver.main", "--data", str(data), *flags]


@contextlib.asynccontextmanager
async def fake_mds():
    mds = FakeMds()
    await mds.start()
    try:
        yield mds
    finally:
        await mds.stop()


@contextlib.asynccontextmanager
async def running(data, mds, *flags):
    """Give (process, address, the log's file)."""
    # A file, not a pipe: a pipe that nobody reads stops the process when it is full.
    with tempfile.TemporaryFile("w+") as log:
        process = await asyncio.create_subprocess_exec(
            *command(data, "--mds", mds.address, *flags), stdout=asyncio.subprocess.PIPE, stderr=log
        )
        try:
            assert process.stdout is not None
            line = (await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)).decode()
            if not line.startswith("listening on "):
                log.seek(0)
                pytest.fail(f"curvefs-metaserver did not begin: {log.read()}")
            yield process, line.removeprefix("listening on ").strip(), log
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def ended(process):
    return await asyncio.wait_for(process.wait(), PATIENCE_S)


async def terminated(process):
    process.send_signal(signal.SIGTERM)
    return await ended(process)


def refused(data, *flags):
    """Run it until it ends; return (exit code, its last line)."""
    done = subprocess.run(command(data, *flags), capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return done.returncode, done.stderr.strip().splitlines()[-1]


def session(mds, session_id=SESSION, **token):
    return SessionClient(FS, session_id, GROUP, mds.token(FS, session_id, **token))


async def test_operations_and_reads_on_one_stream(tmp_path):
    async with fake_mds() as mds, running(tmp_path, mds) as (process, address, _):
        await make_partition(address, FS, GROUP)
        client = session(mds)
        async with client.connected(address):
            assert client.lanes[GROUP].expected_sequence == 1
            first = await client.create("a")
            assert (first.status, first.sequence) == (common_pb2.OK, 1)
            assert (await client.create("a")).status == common_pb2.ALREADY_EXISTS
            lookup, attributes, absent = await client.read(
                {"lookup": pb.Lookup(parent=1, name=b"a")},
                {"get_attr": pb.GetAttr(inode_id=first.inode.inode_id)},
                {"lookup": pb.Lookup(parent=1, name=b"b")},
            )
            assert lookup.inode == attributes.inode == first.inode
            assert not absent.HasField("inode")
        assert await terminated(process) == 0


async def test_64_in_flight_batch_8_or_more_to_a_sync(tmp_path):
    async with fake_mds() as mds, running(tmp_path, mds) as (_, address, __):
        await make_partition(address, FS, GROUP)
        metrics = mds.registrations[-1].metrics_address
        client = session(mds)
        async with client.connected(address):
            before = scraped(metrics)
            pending = []
            for n in range(64 * 20):
                pending.append(client.submit(create=pb.Create(parent=1, name=b"f%d" % n, mode=0o100644)))
                if len(pending) == 64:
                    await client.flush()
                    assert all(not one.result().status for one in pending)
                    pending = []
            after = scraped(metrics)
        operations = after["metaserver_operations_total"] - before["metaserver_operations_total"]
        syncs = after["metaserver_log_syncs_total"] - before["metaserver_log_syncs_total"]
        assert operations == 64 * 20
        assert operations / syncs >= 8


def scraped(address):
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=PATIENCE_S) as page:
        lines = [line for line in page.read().decode().splitlines() if not line.startswith("#")]
    return {line.split()[0]: float(line.split()[1]) for line in lines}


async def test_kill_9_under_load_loses_nothing_acknowledged_and_applies_nothing_twice(tmp_path):
    async with fake_mds() as mds:
        client = session(mds)
        submitted: list[str] = []
        results: list[pb.OperationResult] = []
        address = None
        for life in range(4):
            async with running(tmp_path, mds) as (process, again, _):
                assert again == (address or again), "a restart listens where it did before"
                address = again
                if life == 0:
                    await make_partition(address, FS, GROUP)
                kill_after = len(results) + 300
                with contextlib.suppress(CurveFSError, ConnectionError):
                    async with client.connected(address):
                        assert client.lanes[GROUP].expected_sequence > client.lane.acknowledged
                        while len(results) < kill_after:
                            fill(client, submitted, results)
                            frame = pb.ClientFrame()
                            while (batch := client.lane.next_batch()) is not None:
                                frame.operations.append(batch)
                            if frame.operations:
                                await client.send(frame)
                            for answer in (await client.receive()).operations:
                                assert client.lane.on_results(answer) is None
                        fill(client, submitted, results)
                        # Killed with a full lane: some of it is logged, some not, none of that was answered.
                        await client.send(pb.ClientFrame(operations=[client.lane.next_batch()]))
                        process.kill()
                        await ended(process)
                assert len(results) >= kill_after, "it was killed under load, not before"
        async with running(tmp_path, mds) as (process, address, _), client.connected(address):
            await client.flush()
            assert len(results) == len(submitted)
            # Exclusive creation of distinct names: applied twice, one would have answered ALREADY_EXISTS.
            assert {result.status for result in results} == {common_pb2.OK}
            assert [result.sequence for result in results] == list(range(1, len(results) + 1))
            names = await client.names()
            assert sorted(names) == sorted(submitted)
            assert await terminated(process) == 0


def fill(client, submitted, results):
    """Keep 64 operations in flight."""
    while len(submitted) - len(results) < 64:
        name = f"file {len(submitted)}"
        operation = pb.Operation(create=pb.Create(parent=1, name=name.encode(), mode=0o100644, exclusive=True))
        client.lane.submit(operation, results.append)
        submitted.append(name)


async def test_a_lane_goes_on_after_a_reconnect_and_answers_repetitions(tmp_path):
    async with fake_mds() as mds, running(tmp_path, mds) as (_, address, __):
        await make_partition(address, FS, GROUP)
        client = session(mds)
        async with client.connected(address):
            first = await client.create("a")
            client.submit(create=pb.Create(parent=1, name=b"b", mode=0o100644))
            batch = client.lane.next_batch()
            await client.send(pb.ClientFrame(operations=[batch]))
            (answer,) = (await client.receive()).operations
        async with client.connected(address):  # as if that answer had been lost
            assert client.lanes[GROUP].expected_sequence == 3
            await client.send(pb.ClientFrame(operations=[batch]))
            (again,) = (await client.receive()).operations
            assert again.results == answer.results
            batch.first_sequence = 9
            await client.send(pb.ClientFrame(operations=[batch]))
            (gap,) = (await client.receive()).operations
            assert (gap.failure.code, gap.failure.expected_sequence) == (common_pb2.SEQUENCE_GAP, 3)
            assert sorted(await client.names()) == ["a", "b"]
            assert first.sequence == 1


async def test_tokens_that_are_wrong_are_refused(tmp_path):
    async with fake_mds() as mds, running(tmp_path, mds) as (_, address, __):
        await make_partition(address, FS, GROUP)
        other = b"O" * 16
        for token in (
            mds.token(FS, SESSION, secret=b"forged"),
            mds.token(FS + 1, SESSION),
            mds.token(FS, other),
            b"",
        ):
            client = SessionClient(FS, SESSION, GROUP, token)
            async with client.connected(address):
                assert client.welcome.failure.code == common_pb2.TOKEN_REFUSED
                operation = pb.Operation(create=pb.Create(parent=1, name=b"x", mode=0o100644))
                batch = pb.OperationBatch(
                    fs_id=FS, session_id=SESSION, group_id=GROUP, first_sequence=1, operations=[operation]
                )
                await client.send(pb.ClientFrame(operations=[batch]))
                (answer,) = (await client.receive()).operations
                assert (answer.failure.code, answer.not_appended) == (common_pb2.SESSION_UNKNOWN, True)
                (read,) = await client.read({"get_attr": pb.GetAttr(inode_id=1)})
                assert read.failure.code == common_pb2.SESSION_UNKNOWN


async def test_an_expired_token_opens_no_session_and_ends_none(tmp_path):
    async with fake_mds() as mds, running(tmp_path, mds) as (_, address, __):
        await make_partition(address, FS, GROUP)
        expired = SessionClient(FS, SESSION, GROUP, mds.token(FS, SESSION, expires_ns=1))
        async with expired.connected(address):
            assert expired.lanes[GROUP].failure.code == common_pb2.TOKEN_REFUSED
            (read,) = await expired.read({"get_attr": pb.GetAttr(inode_id=1)})
            assert read.failure.code == common_pb2.SESSION_UNKNOWN
        client = session(mds)
        async with client.connected(address):
            await client.create("a")
        client.hello.token = mds.token(FS, SESSION, expires_ns=1)
        async with client.connected(address):
            await client.create("b")
            assert sorted(await client.names()) == ["a", "b"]
        ending = pb.EndSessionRequest(mds_epoch=1, session_id=SESSION, groups=[GROUP])
        await call(address, "EndSession", ending)
        async with client.connected(address):
            assert client.lanes[GROUP].failure.code == common_pb2.SESSION_ENDED


async def test_another_protocol_version_is_refused(tmp_path):
    async with fake_mds() as mds, running(tmp_path, mds) as (_, address, __):
        client = session(mds)
        client.hello.protocol_version = 2
        async with client.connected(address):
            assert client.welcome.failure.code == common_pb2.VERSION_UNSUPPORTED


async def test_another_sessions_batch_is_refused(tmp_path):
    async with fake_mds() as mds, running(tmp_path, mds) as (_, address, __):
        await make_partition(address, FS, GROUP)
        victim, client = session(mds, b"V" * 16), session(mds)
        async with victim.connected(address), client.connected(address):
            batch = pb.OperationBatch(
                fs_id=FS,
                session_id=b"V" * 16,
                group_id=GROUP,
                first_sequence=1,
                operations=[pb.Operation(noop=pb.NoOperation())],
            )
            await client.send(pb.ClientFrame(operations=[batch]))
            (answer,) = (await client.receive()).operations
            assert answer.failure.code == common_pb2.SESSION_UNKNOWN
            assert (await victim.create("a")).sequence == 1


async def test_a_read_only_session_reads_and_changes_nothing(tmp_path):
    async with fake_mds() as mds, running(tmp_path, mds) as (_, address, __):
        await make_partition(address, FS, GROUP)
        client = session(mds, read_only=True)
        async with client.connected(address):
            assert await client.names() == []
            client.submit(create=pb.Create(parent=1, name=b"x", mode=0o100644))
            await client.send(pb.ClientFrame(operations=[client.lane.next_batch()]))
            (answer,) = (await client.receive()).operations
            assert (answer.failure.code, answer.not_appended) == (common_pb2.READ_ONLY, True)


async def test_a_group_that_is_not_here_is_named_in_its_lane(tmp_path):
    async with fake_mds() as mds, running(tmp_path, mds) as (_, address, __):
        await make_partition(address, FS, GROUP)
        client = session(mds)
        client.hello.groups.append(99)
        async with client.connected(address):
            here, absent = client.lanes[GROUP], client.lanes[99]
            assert (here.expected_sequence, absent.failure.code) == (1, common_pb2.WRONG_PARTITION)


async def test_an_ended_session_is_refused_everywhere(tmp_path):
    async with fake_mds() as mds, running(tmp_path, mds) as (_, address, __):
        await make_partition(address, FS, GROUP)
        client = session(mds)
        async with client.connected(address):
            await client.create("a")
            ending = pb.EndSessionRequest(mds_epoch=1, session_id=SESSION, groups=[GROUP])
            await call(address, "EndSession", ending)
            await call(address, "EndSession", ending)
            with pytest.raises(SessionEnded):
                await client.create("b")
        async with client.connected(address):
            assert client.lanes[GROUP].failure.code == common_pb2.SESSION_ENDED


async def test_orders_of_heartbeats_are_carried_out(tmp_path):
    async with fake_mds() as mds, running(tmp_path, mds) as (_, address, __):
        order = heartbeat_pb2.CreateCopysetOrder(peers=[common_pb2.Peer(metaserver_id=METASERVER_ID, address=address)])
        mds.orders = [heartbeat_pb2.Order(group_id=GROUP, create_copyset=order)]
        await mds.heartbeat_with(lambda beat: [one.group_id for one in beat.copysets] == [GROUP])
        await make_partition(address, FS, GROUP)
        client = session(mds)
        async with client.connected(address):
            await client.create("a")
            beat = await mds.heartbeat_with(lambda beat: bool(beat.copysets[0].sessions))
            (group,) = beat.copysets
            assert (group.leading, group.partitions[0].inode_count, beat.token) == (True, 2, b"t" * 16)
            assert group.sessions[0].session_id == SESSION
            ending = heartbeat_pb2.EndSessionOrder(session_id=SESSION)
            mds.orders = [
                heartbeat_pb2.Order(group_id=GROUP, end_session=ending),
                heartbeat_pb2.Order(group_id=GROUP, remove_copyset=heartbeat_pb2.RemoveCopysetOrder()),
            ]
            await mds.heartbeat_with(lambda beat: not beat.copysets[0].sessions)
            beat = await mds.heartbeat_with(lambda _: True)
            assert beat.copysets[0].partitions, "a group with a partition is not removed"


async def test_an_mds_whose_store_was_restored_is_told_everything_and_has_nothing_removed(tmp_path):
    async with fake_mds() as mds:
        mds.answer = {"recovering": True, "changes": 12}
        async with running(tmp_path, mds) as (_, address, __):
            await make_partition(address, FS, GROUP)
            beat = await mds.heartbeat_with(lambda beat: beat.in_full and bool(beat.copysets))
            assert beat.copysets[0].partitions[0].spec.group_id == GROUP
            assert beat.changes_told == 12
            mds.answer = {"changes": 11}
            beat = await mds.heartbeat_with(lambda beat: not beat.in_full)
            assert not beat.copysets[0].partitions[0].HasField("spec")
            mds.registrations.clear()
            mds.has_forgotten = True
            await mds.heartbeat_with(lambda _: bool(mds.registrations))
            (again,) = mds.registrations
            assert again.proof == membership_proof(mds.secret, METASERVER_ID, again.token)
            assert (again.metaserver_id, again.address, again.changes_told) == (METASERVER_ID, address, 12)
        async with running(tmp_path, mds) as (_, __, ___):
            assert mds.registrations[-1].changes_told == 12, "it is remembered"
            beat = await mds.heartbeat_with(lambda _: True)
            assert len(beat.copysets) == 1


async def test_a_deposed_mds_is_refused_also_after_a_restart(tmp_path):
    async with fake_mds() as mds:
        async with running(tmp_path, mds) as (_, address, __):
            await make_partition(address, FS, GROUP, epoch=5)
            with pytest.raises(StaleEpoch):
                await make_partition(address, FS, 12, epoch=4)
        mds.epoch = 5
        async with running(tmp_path, mds) as (_, address, __):
            with pytest.raises(StaleEpoch):
                await make_partition(address, FS, 12, epoch=4)
            beat = await mds.heartbeat_with(lambda _: True)
            assert (beat.highest_epoch, len(beat.copysets)) == (5, 1)


async def test_copysets_are_looked_at_and_a_group_of_one_stays_what_it_is(tmp_path):
    async with fake_mds() as mds, running(tmp_path, mds) as (_, address, __):
        await make_partition(address, FS, GROUP)
        wanted = copyset_pb2.GetCopysetStatusRequest(group_id=GROUP, with_digest=True)
        status = await call(address, "GetCopysetStatus", wanted)
        assert (status.applied_index, status.last_index, status.leader_id, len(status.digest)) == (2, 2, 7, 16)
        wanted.group_id = 99
        with pytest.raises(WrongPartition):
            await call(address, "GetCopysetStatus", wanted)
        with pytest.raises(ResourceBusy):
            await call(address, "RemoveCopyset", copyset_pb2.RemoveCopysetRequest(mds_epoch=1, group_id=GROUP))
        index, epoch = status.configuration_index, 1
        for request in (
            copyset_pb2.ChangePeersRequest(mds_epoch=epoch, group_id=GROUP, configuration_index=index),
            copyset_pb2.TransferLeaderRequest(mds_epoch=epoch, group_id=GROUP, to_metaserver_id=8),
            copyset_pb2.RebuildReplicaRequest(mds_epoch=epoch, group_id=GROUP, metaserver_id=METASERVER_ID),
        ):
            with pytest.raises(InvalidArgument):
                await call(address, type(request).__name__.removesuffix("Request"), request)
        stale = copyset_pb2.ChangePeersRequest(mds_epoch=epoch, group_id=GROUP, configuration_index=index + 1)
        with pytest.raises(StaleEpoch):
            await call(address, "ChangePeers", stale)


async def test_a_restarted_metaserver_serves_while_the_mds_is_away(tmp_path):
    async with fake_mds() as mds:
        client = session(mds)
        async with running(tmp_path, mds) as (_, address, __):
            await make_partition(address, FS, GROUP)
            async with client.connected(address):
                await client.create("a")
        await mds.stop()
        process = await asyncio.create_subprocess_exec(
            *command(tmp_path, "--mds", mds.address), stdout=asyncio.subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    with contextlib.suppress(CurveFSError, ConnectionError):
                        async with client.connected(address):
                            assert (await client.create("b")).status == common_pb2.OK
                            break
            await mds.start()
            assert process.stdout is not None
            line = await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)
            assert line.decode().strip() == f"listening on {address}"
            assert mds.registrations[-1].metaserver_id == 7
        finally:
            process.kill()
            await process.wait()


async def test_secrets_are_readable_by_the_owner_only_and_not_logged(tmp_path):
    async with fake_mds() as mds, running(tmp_path, mds, "--log-level", "debug") as (process, _, log):
        await mds.heartbeat_with(lambda _: True)
        assert await terminated(process) == 0
        log.seek(0)
        said = log.read()
        assert mds.secret.hex() not in said
        assert mds.secret.decode() not in said
    holders = [file for file in tmp_path.rglob("*") if file.is_file() and mds.secret.hex() in file.read_text("latin-1")]
    assert holders == [tmp_path / "identity"]
    assert os.stat(tmp_path / "identity").st_mode & 0o777 == 0o600


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_ends_it_with_zero_also_with_a_stream_open(tmp_path, number):
    async with fake_mds() as mds, running(tmp_path, mds) as (process, address, _):
        await make_partition(address, FS, GROUP)
        async with session(mds).connected(address):
            process.send_signal(number)
            assert await ended(process) == 0


async def test_bad_starts_say_why_in_one_line_with_a_code_of_their_own(tmp_path):
    async with fake_mds() as mds:
        where = ("--mds", mds.address)

        async def start(data, *flags):
            return await asyncio.to_thread(refused, data, *flags)

        async with running(tmp_path / "used", mds) as (_, address, __):
            code, line = await start(tmp_path / "used", *where)
            assert (code, str(tmp_path / "used") in line) == (ExitCode.DATA_FOLDER, True)
            code, line = await start(tmp_path / "b", *where, "--listen", address)
            assert (code, address in line) == (ExitCode.ADDRESS_IN_USE, True)
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "format").write_text("99\n")
        code, line = await start(tmp_path / "new", *where)
        assert (code, "99" in line) == (ExitCode.DATA_FOLDER, True)
        for flags in ((), ("--mds", "nowhere"), (*where, "--listen", "x"), (*where, "--config", "/nonexistent")):
            code, line = await start(tmp_path / "c", *flags)
            assert (code, line.startswith("curvefs-metaserver: ")) == (ExitCode.USAGE, True), line
        mds.cluster_id = "another"
        code, line = await start(tmp_path / "used", *where)
        assert (code, "another cluster" in line) == (ExitCode.REFUSED, True)


async def test_a_taken_port_and_settings_of_a_file(tmp_path):
    (tmp_path / "m.toml").write_text("checkpoint_log_size_bytes = 100000\nunknown = 1\n")
    async with fake_mds() as mds:
        flags = ("--mds", mds.address, "--config", str(tmp_path / "m.toml"))
        code, line = await asyncio.to_thread(refused, tmp_path / "a", *flags)
        assert (code, "unknown" in line) == (ExitCode.USAGE, True)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            (tmp_path / "m.toml").write_text(f'metrics_listen = "{address}"\n')
            code, line = await asyncio.to_thread(refused, tmp_path / "a", *flags)
            assert (code, address in line) == (ExitCode.ADDRESS_IN_USE, True)


async def test_a_damaged_log_stops_the_start_and_a_torn_one_does_not(tmp_path):
    async with fake_mds() as mds:
        client = session(mds)
        async with running(tmp_path, mds) as (process, address, _):
            await make_partition(address, FS, GROUP)
            async with client.connected(address):
                for n in range(10):
                    await client.create(f"f{n}")
            process.kill()
            await ended(process)
        (segment,) = (tmp_path / "wal").glob("*.wal")
        whole = segment.read_bytes()
        segment.write_bytes(whole + b"torn record")
        async with running(tmp_path, mds) as (process, address, log):
            async with client.connected(address):
                assert len(await client.names()) == 10
            assert await terminated(process) == 0
            log.seek(0)
            said = log.read()
            assert str(segment) in said
            assert f"offset={len(whole)}" in said
        whole = bytearray(segment.read_bytes())
        whole[len(whole) // 2] ^= 1
        segment.write_bytes(whole)
        code, line = await asyncio.to_thread(refused, tmp_path, "--mds", mds.address)
        assert code == ExitCode.DAMAGED
        assert str(segment) in line
        assert "byte " in line
