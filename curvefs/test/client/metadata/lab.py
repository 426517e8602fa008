"""A metadata client over metaservers in memory, on trio's clock."""

import random
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from curvefs.proto import common_pb2
from curvefs.src.client.metadata.cache import MetadataCache
from curvefs.src.client.metadata.client import MetadataClient
from curvefs.src.client.metadata.ids import IdRanges
from curvefs.src.client.metadata.router import Router
from curvefs.test.support.memory_metaservers import MemoryMetaservers, MemorySession

A, B, C = ADDRESSES = ("a:1", "b:1", "c:1")
ROOT = 1
TIMEOUT_S = 30.0


@dataclass
class Lab:
    """What a test works with."""

    servers: MemoryMetaservers
    session: MemorySession
    router: Router
    cache: MetadataCache
    metadata: MetadataClient
    new_sessions: list
    gone: list

    def group(self, group_id=1):
        return self.servers.groups[group_id]

    def fail(self, address, code, count=1, **fields):
        failure = common_pb2.Failure(code=code, **fields)
        self.servers.servers[address].failing.extend([failure] * count)

    def names_applied(self, group_id=1):
        """Return the names of creates in the order in which a group applied them."""
        return [operation.create.name for _, _, operation in self.group(group_id).applied]


@asynccontextmanager
async def running(groups=None, *, seed=0, run=True):
    """Servers a, b, c; groups are led by a, b, c in turn. Group -> partitions; by default one of partition 0."""
    groups = groups or {1: [0]}
    async with trio.open_nursery() as nursery:
        servers = MemoryMetaservers(nursery, ADDRESSES, groups)
        for index, group in enumerate(servers.groups.values()):
            group.led_by(ADDRESSES[index % 3])
        session = MemorySession(servers)
        cache = MetadataCache(10_000, attr_timeout_s=1.0, entry_timeout_s=1.0, negative_timeout_s=0.0)
        ids, new_sessions, gone = IdRanges(), [], []
        router = Router(
            session,
            timeout_s=TIMEOUT_S,
            on_new_session=lambda: new_sessions.append(trio.current_time()),
            on_gone=gone.append,
            connect=servers.connect,
            random=random.Random(seed).random,
        )
        if run:
            await nursery.start(router.run)
        yield Lab(servers, session, router, cache, MetadataClient(router, cache, ids), new_sessions, gone)
        nursery.cancel_scope.cancel()
