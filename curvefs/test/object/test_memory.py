"""The memory store keeps the contract."""

import pytest

from curvefs.src.object.memory import MemoryStore
from curvefs.test.object.contract import ObjectStoreContract


class TestMemoryStore(ObjectStoreContract):
    @pytest.fixture
    def store(self):
        return MemoryStore()


class TestListingOrder:
    def test_order_is_by_the_whole_key(self):
        store = MemoryStore()
        for key in ("a/b", "a-b", "a0", "a"):
            store.put(key, b"x")
        assert [info.key for info in store.list("")] == ["a", "a-b", "a/b", "a0"]
