"""What histories are made of: saved ones come back as they were, and a wrong one is told from a right one."""

import random
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial

import pytest
import trio
import trio.testing

from ..linearizability.history import UNKNOWN, Call
from ..linearizability.operations import Create, Flag, Mkdir, Readdir, Rename
from ..linearizability.random_histories import Filesystem
from . import histories
from .choosing import Choosing
from .files import load, save
from .proxy import Proxies


def sequential(count, seed=0):
    """A history of one client on a filesystem in memory."""
    choosing, filesystem, calls = Choosing("h", random.Random(seed)), Filesystem(), []
    operations = iter(choosing.tops())
    for number in range(count):
        operation = next(operations, None) or choosing.operation()
        if isinstance(operation, Create):
            operation = replace(operation, exclusive=True)  # the filesystem in memory knows no other
        calls.append(Call(1, f"0.{number}", operation, number, number + 0.5, filesystem.apply(operation)))
        choosing.learn(calls[-1])
    return calls


def test_a_saved_history_comes_back_as_it_was(tmp_path):
    calls = [*sequential(300), Call(2, "u", Rename(1, "a", 1, "b", Flag.EXCHANGE), 3.0)]
    assert any(isinstance(call.operation, Readdir) and call.answer[0] == "ok" for call in calls)
    save(tmp_path / "folder" / "history.json", calls)
    assert load(tmp_path / "folder" / "history.json") == sorted(calls, key=lambda call: call.began)


def test_chosen_operations_meet_all_kinds_of_answers():
    calls = sequential(3000)
    kinds = {type(call.operation).__name__ for call in calls}
    assert kinds == {"Create", "Mkdir", "Link", "Unlink", "Rmdir", "Rename", "Lookup", "Getattr", "Readdir"}
    answers = {call.answer if isinstance(call.answer, str) else "ok" for call in calls}
    assert answers >= {"ok", "ENOENT", "EEXIST", "ENOTEMPTY", "EISDIR", "ENOTDIR", "EINVAL"}


def test_a_right_history_passes_when_it_is_checked_again(tmp_path):
    save(tmp_path / "h", sequential(200))
    assert histories.recheck(tmp_path / "h").ok


def test_a_mkdir_that_answers_ok_twice_does_not_pass(tmp_path):
    calls = sequential(200)
    [first, *_] = [call for call in calls if isinstance(call.operation, Mkdir)]
    again = Call(9, "again", first.operation, first.ended, first.ended + 0.1, ("ok", 10**9))
    save(tmp_path / "h", [*calls, again])
    assert not histories.recheck(tmp_path / "h").ok


def test_a_call_of_unknown_outcome_may_explain_what_others_saw(tmp_path):
    calls = sequential(4)
    made = calls[3]
    lookup = Call(9, "seen", Mkdir(1, made.operation.name), 10.0, 10.1, "EEXIST")
    unknown = replace(made, ended=None, answer=UNKNOWN)
    save(tmp_path / "h", [*calls[:3], unknown, lookup])
    assert histories.recheck(tmp_path / "h").ok


async def _echo(stream):
    async for data in stream:
        await stream.send_all(data)


@pytest.fixture
async def echo(nursery):
    """A proxy in front of a server that sends back; returns (proxies, the server's address)."""
    [listener] = await nursery.start(partial(trio.serve_tcp, _echo, 0, host="127.0.0.1"))
    address = f"127.0.0.1:{listener.socket.getsockname()[1]}"

    async def same(address):
        return address

    proxies = Proxies(same)
    await nursery.start(proxies.run, [address])
    return proxies, address


@asynccontextmanager
async def _connected(echo):
    proxies, address = echo
    async with await trio.open_tcp_stream("127.0.0.1", int(proxies.address(address).rpartition(":")[2])) as stream:
        await stream.send_all(b"a")
        yield stream


@pytest.mark.trio
async def test_a_proxy_passes_on_until_it_is_cut(echo):
    async with _connected(echo) as stream:
        assert await stream.receive_some() == b"a"
        echo[0].cut(echo[1])
        with trio.fail_after(5):
            assert await stream.receive_some() == b""
    async with _connected(echo) as stream:
        assert await stream.receive_some() == b"a"


@pytest.mark.trio
async def test_what_a_proxy_held_comes_afterwards(echo, nursery):
    async with _connected(echo) as stream:
        assert await stream.receive_some() == b"a"
        nursery.start_soon(echo[0].hold, echo[1], 0.3)
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        await stream.send_all(b"b")
        assert await stream.receive_some() == b"b"
        assert trio.current_time() - began >= 0.29


@pytest.mark.trio
async def test_a_proxy_that_refuses_ends_new_connections(echo, nursery):
    nursery.start_soon(echo[0].refuse, echo[1], 0.2)
    await trio.testing.wait_all_tasks_blocked()
    async with _connected(echo) as stream:
        with suppress(trio.BrokenResourceError):
            assert await stream.receive_some() == b""
