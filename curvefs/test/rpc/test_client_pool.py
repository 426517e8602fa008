"""Clients of many groups' servers: how many are kept, and which."""

import asyncio

import pytest

from curvefs.src.rpc import client_pool
from curvefs.src.rpc.client_pool import ClientPool

pytestmark = pytest.mark.asyncio


class Client:
    """Answers with its addresses, once it may."""

    def __init__(self, addresses):
        self.addresses = addresses
        self.closed = False
        self.calls = 0
        Client.made.append(self)

    async def call(self, _stub, _method, release, *, deadline_s):
        assert not self.closed
        self.calls += 1
        if release is not None:
            await release.wait()
        assert not self.closed
        return self.addresses

    async def close(self):
        await asyncio.sleep(0)
        self.closed = True


@pytest.fixture(autouse=True)
def clients(monkeypatch):
    Client.made = []
    monkeypatch.setattr(client_pool, "AsyncClient", Client)
    monkeypatch.setattr(client_pool, "CLIENTS_MAX", 2)
    return Client.made


def ask(pool, address, release=None):
    return pool.call((address,), object, "Method", release, deadline_s=1.0)


def open_ones(clients):
    return [client.addresses[0] for client in clients if not client.closed]


async def test_what_was_used_longest_ago_is_closed(clients):
    pool = ClientPool()
    for address in "abac":
        assert await ask(pool, address) == (address,)
    assert open_ones(clients) == ["a", "c"]
    assert clients[0].calls == 2
    await pool.close()
    assert not open_ones(clients)


async def test_none_is_closed_while_a_call_is_under_way_on_it(clients):
    pool = ClientPool()
    release = asyncio.Event()
    asked = [asyncio.create_task(ask(pool, address, release)) for address in "abcd"]
    await asyncio.sleep(0.01)
    assert open_ones(clients) == ["a", "b", "c", "d"]
    release.set()
    await asyncio.gather(*asked)
    await ask(pool, "e")
    assert open_ones(clients) == ["d", "e"]
