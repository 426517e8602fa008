"""What the MDS does to object stores: bounded in time, whatever they do."""

import threading

import pytest

from curvefs.src.common.errors import NoSpace, ObjectStoreUnavailable, PermissionDenied, Unavailable
from curvefs.src.mds.object_stores import ObjectStores
from curvefs.src.mds.threads import Threads
from curvefs.src.object.check import check_store
from curvefs.src.object.fault import Fault, FaultStore
from curvefs.src.object.memory import MemoryStore
from curvefs.src.object.protocol import StoreFull, StoreRefused, StoreUnavailable
from curvefs.src.object.url import open_store

pytestmark = pytest.mark.asyncio
URL = "s3://bucket"


def stores_over(store: FaultStore, **limits: float) -> ObjectStores:
    return ObjectStores(lambda _, **__: store, check_store, objects_per_s=1e9, **limits)


async def test_store_that_hangs_is_given_up_at_the_deadline():
    store, gate = FaultStore(MemoryStore()), threading.Event()
    store.plan(Fault("put", block=gate, error=None))
    try:
        with pytest.raises(ObjectStoreUnavailable, match="did not answer within 0 s"):
            await stores_over(store, check_deadline_s=0.05).check(URL)
    finally:
        gate.set()


@pytest.mark.parametrize(
    ("error", "expected"),
    [(StoreRefused, PermissionDenied), (StoreFull, NoSpace), (StoreUnavailable, ObjectStoreUnavailable)],
)
@pytest.mark.parametrize("operation", ["put", "get", "delete"])
async def test_errors_become_ours_with_their_words(operation, error, expected):
    store = FaultStore(MemoryStore())
    store.plan(Fault(operation, error=lambda: error("one clear line")))
    with pytest.raises(expected, match="one clear line"):
        await stores_over(store).check(URL)


async def test_removal_takes_every_object_of_the_prefix_and_no_other():
    inner = MemoryStore()
    for n in range(2500):
        inner.put(f"mine/{n:05d}", b"")
    inner.put("mine", b"")
    inner.put("mine0", b"")
    assert await stores_over(FaultStore(inner)).remove_all(URL, "mine/") == 2500
    assert [info.key for info in inner.list("")] == ["mine", "mine0"]


async def test_interrupted_removal_goes_on_where_it_was():
    inner = MemoryStore()
    for n in range(1500):
        inner.put(f"mine/{n:05d}", b"")
    store = FaultStore(inner)
    store.plan(Fault("delete", matches=lambda key: key.endswith("/01000")))
    with pytest.raises(Unavailable):
        await stores_over(store).remove_all(URL, "mine/")
    assert len(inner.list("mine/")) == 500
    assert await stores_over(store).remove_all(URL, "mine/") == 500


async def test_object_that_came_late_makes_it_be_tried_again():
    inner = MemoryStore()

    class Late(MemoryStore):
        def list(self, prefix: str, after: str = "", limit: int = 1000):
            return inner.list(prefix, after, limit) if limit == 1 else []

    inner.put("mine/late", b"")
    with pytest.raises(Unavailable, match="remain"):
        await stores_over(FaultStore(Late())).remove_all(URL, "mine/")


async def test_threads_return_and_raise_and_bound():
    threads = Threads(2)
    assert await threads.run(lambda: 5, 10) == 5
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0, 10)
    gate = threading.Event()
    try:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await threads.run(gate.wait, 0.01)
        ran: list[int] = []
        with pytest.raises(TimeoutError):
            await threads.run(lambda: ran.append(1), 0.01)  # both slots are held by what still hangs
        assert ran == []
    finally:
        gate.set()
    assert await threads.run(lambda: 6, 10) == 6


async def test_only_the_check_makes_a_folder(tmp_path):
    stores = ObjectStores(open_store, check_store)
    url = f"file://{tmp_path}/objects"
    with pytest.raises(ObjectStoreUnavailable, match="is it mounted"):
        await stores.remove_all(url, "")
    assert not (tmp_path / "objects").exists()
    await stores.check(url)
    assert await stores.remove_all(url, "") == 0
