"""The store that fails on purpose: harmless without a plan, exact with one."""

import threading

import pytest

from curvefs.src.object.fault import Fault, FaultStore
from curvefs.src.object.memory import MemoryStore
from curvefs.src.object.protocol import ObjectNotFound, StoreFull, StoreUnavailable
from curvefs.test.object.contract import ObjectStoreContract


class TestFaultStoreWithoutFaults(ObjectStoreContract):
    @pytest.fixture
    def store(self):
        return FaultStore(MemoryStore())


@pytest.fixture
def inner():
    return MemoryStore()


@pytest.fixture
def store(inner):
    return FaultStore(inner)


def calls(store):
    return {
        "put": lambda: store.put("k", b"new"),
        "get": lambda: store.get("k"),
        "delete": lambda: store.delete(["j", "k"]),
        "list": lambda: store.list("k"),
    }


@pytest.mark.parametrize("operation", ["put", "get", "delete", "list"])
def test_fault_hits_its_operation_so_often_and_no_other(inner, store, operation):
    inner.put("k", b"old")
    store.plan(Fault(operation, times=2, error=lambda: StoreFull("planned")))
    for name, call in calls(store).items():
        if name != operation:
            call()
    inner.put("k", b"old")
    for _ in range(2):
        with pytest.raises(StoreFull, match="planned"):
            calls(store)[operation]()
    assert inner.get("k") == b"old"
    calls(store)[operation]()


def test_fault_without_a_number_stays_until_forgotten(store):
    store.plan(Fault("put", times=None))
    for _ in range(5):
        with pytest.raises(StoreUnavailable):
            store.put("k", b"x")
    store.forget_faults()
    store.put("k", b"x")


def test_fault_matches_keys_and_any_key_of_a_deletion(store):
    for operation in ("put", "delete"):
        store.plan(Fault(operation, times=None, matches=lambda key: key.startswith("b")))
    store.put("a", b"x")
    with pytest.raises(StoreUnavailable):
        store.put("b", b"x")
    with pytest.raises(StoreUnavailable):
        store.delete(["a", "b"])
    assert store.get("a") == b"x"
    store.delete(["a"])


def test_first_fault_that_matches_applies_alone(store):
    store.plan(Fault("put", error=lambda: StoreFull("first")))
    store.plan(Fault("put", error=lambda: StoreFull("second")))
    for word in ("first", "second"):
        with pytest.raises(StoreFull, match=word):
            store.put("k", b"x")
    store.put("k", b"x")


@pytest.mark.parametrize("operation", ["put", "delete"])
def test_lost_reply_is_an_error_after_the_deed(inner, store, operation):
    inner.put("k", b"old")
    store.plan(Fault(operation, lost_reply=True))
    with pytest.raises(StoreUnavailable):
        calls(store)[operation]()
    if operation == "put":
        assert inner.get("k") == b"new"
    else:
        with pytest.raises(ObjectNotFound):
            inner.get("k")


def test_damage_changes_what_one_get_returns_and_not_what_is_stored(inner, store):
    inner.put("k", b"abc")
    store.plan(Fault("get", damage=lambda data: data[:-1]))
    assert store.get("k") == b"ab"
    assert store.get("k") == b"abc"
    assert inner.get("k") == b"abc"


def test_blocked_call_goes_on_when_the_gate_opens(store):
    gate, done = threading.Event(), threading.Event()
    store.plan(Fault("put", block=gate, error=None))

    def work() -> None:
        store.put("k", b"x")
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    store.put("other", b"y")  # nothing else waits
    assert not done.is_set()
    with pytest.raises(ObjectNotFound):
        store.get("k")
    gate.set()
    thread.join()
    assert store.get("k") == b"x"


def test_delay_is_the_callers_own_and_comes_before_the_deed(inner, store):
    seen: list[list[str]] = []
    store.plan(Fault("put", error=None, delay=lambda: seen.append([info.key for info in inner.list("")])))
    store.put("k", b"x")
    assert seen == [[]]
    assert inner.get("k") == b"x"


def test_store_that_is_down_fails_every_call_until_it_comes_up(inner, store):
    inner.put("k", b"old")
    store.go_down()
    for call in calls(store).values():
        with pytest.raises(StoreUnavailable):
            call()
    assert inner.get("k") == b"old"
    store.come_up()
    assert store.get("k") == b"old"


def test_calls_are_counted_also_failed_ones(store):
    store.put("k", b"x")
    store.go_down()
    for call in calls(store).values():
        with pytest.raises(StoreUnavailable):
            call()
    assert store.counts == {"put": 2, "get": 1, "delete": 1, "list": 1}
