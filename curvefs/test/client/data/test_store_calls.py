"""Calls to the store that are tried again."""

import gc
import weakref

import pytest
import trio

from curvefs.src.client.data.store_calls import StoreCalls
from curvefs.src.common.errors import IOFailure
from curvefs.src.object.fault import FaultStore
from curvefs.src.object.memory import MemoryStore
from curvefs.src.slices.codec import BlockCodec

pytestmark = pytest.mark.trio


class Holder:
    """Goes when the call's frame goes."""


async def test_a_call_that_pauses_holds_no_object_in_memory(autojump_clock):
    store = FaultStore(MemoryStore())
    store.go_down()
    calls = StoreCalls(store, BlockCodec(b"", bytes), uploads_max=2, downloads_max=2, random_s=lambda: 0.5)
    alive = []

    def load():
        holder = Holder()
        alive.append(weakref.ref(holder))

        class Data(bytes):
            held = holder

        return Data(b"data")

    with pytest.raises(IOFailure) as caught:
        await calls.put_object("name", load, trio.current_time() + 3)
    gc.collect()
    assert len(alive) > 2
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert not any(one() for one in alive)
