"""The check of a store at creation of a filesystem."""

import pytest

from curvefs.src.object.check import check_store
from curvefs.src.object.fault import Fault, FaultStore
from curvefs.src.object.memory import MemoryStore
from curvefs.src.object.protocol import StoreFull, StoreRefused


@pytest.mark.parametrize("operation", ["put", "get", "delete"])
def test_error_of_each_step_is_raised(operation):
    store = FaultStore(MemoryStore())
    store.plan(Fault(operation, error=lambda: StoreFull("no room")))
    with pytest.raises(StoreFull, match="no room"):
        check_store(store)


@pytest.mark.parametrize("operation", ["put", "get"])
def test_probe_is_not_left_behind_by_a_failed_check(operation):
    inner = MemoryStore()
    store = FaultStore(inner)
    store.plan(Fault(operation, lost_reply=operation == "get"))
    with pytest.raises(Exception, match="injected"):
        check_store(store)
    assert inner.list("") == []


def test_store_that_returns_other_bytes_is_refused():
    inner = MemoryStore()
    store = FaultStore(inner)
    store.plan(Fault("get", damage=lambda data: data[::-1]))
    with pytest.raises(StoreRefused, match="does not return what was put"):
        check_store(store)
    assert inner.list("") == []


def test_store_that_ignores_ranges_is_refused():
    class Whole(MemoryStore):
        def get(self, key: str, start: int = 0, size: int | None = None) -> bytes:
            return super().get(key)

    with pytest.raises(StoreRefused):
        check_store(Whole())


def test_every_check_has_a_name_of_its_own():
    put: list[str] = []

    class Recording(MemoryStore):
        def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
            put.append(key)
            super().put(key, data)

    for _ in range(2):
        check_store(Recording())
    assert len(set(put)) == 2
    assert all(key.startswith(".curvefs-probe/") for key in put)
