"""What every object store does: run on each implementation, so that the memory store is a proven stand-in."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curvefs.src.common.errors import InvalidArgument
from curvefs.src.object.check import check_store
from curvefs.src.object.protocol import ObjectNotFound, ObjectStore

CONTENT = bytes(range(256)) * 1000
FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class ObjectStoreContract:
    """Subclasses give the fixture ``store``: an empty one for each test."""

    def test_get_returns_what_was_put(self, store: ObjectStore):
        store.put("a/b/c", CONTENT)
        assert store.get("a/b/c") == CONTENT

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_put_takes_every_kind_of_bytes(self, store: ObjectStore, kind):
        store.put("k", kind(CONTENT))
        got = store.get("k")
        assert got == CONTENT
        assert isinstance(got, bytes)

    def test_put_keeps_what_it_was_given_when_the_buffer_changes_later(self, store: ObjectStore):
        buffer = bytearray(b"before")
        store.put("k", buffer)
        buffer[:] = b"after!"
        assert store.get("k") == b"before"

    def test_object_may_be_empty(self, store: ObjectStore):
        store.put("empty", b"")
        assert store.get("empty") == b""
        assert [(info.key, info.size) for info in store.list("")] == [("empty", 0)]

    def test_object_may_have_several_megabytes(self, store: ObjectStore):
        content = CONTENT * 20
        store.put("large", content)
        assert store.get("large") == content
        assert store.get("large", len(content) - 70_000, 65_540) == content[-70_000:][:65_540]

    def test_put_may_be_repeated(self, store: ObjectStore):
        store.put("k", CONTENT)
        store.put("k", CONTENT)
        assert store.get("k") == CONTENT
        assert len(store.list("")) == 1

    def test_ranges_are_short_only_at_the_end(self, store: ObjectStore):
        store.put("k", CONTENT)
        size = len(CONTENT)

        @FEW
        @given(st.integers(0, size + 2), st.none() | st.integers(0, size + 2))
        def check(start: int, length: int | None) -> None:
            end = size if length is None else start + length
            assert store.get("k", start, length) == CONTENT[start:end]

        check()

    @pytest.mark.parametrize("arguments", [(), (0, 10), (5,), (0, 0)])
    def test_absent_object_is_not_found(self, store: ObjectStore, arguments):
        store.put("there/it", b"x")
        for key in ("absent", "there/other", "there", "there/it/below"):
            with pytest.raises(ObjectNotFound, match=key):
                store.get(key, *arguments)

    def test_deleted_object_is_not_found(self, store: ObjectStore):
        store.put("a/b", b"1")
        store.put("a/c", b"2")
        store.delete(["a/b"])
        with pytest.raises(ObjectNotFound):
            store.get("a/b")
        assert store.get("a/c") == b"2"

    def test_delete_ignores_what_is_absent_and_may_be_repeated(self, store: ObjectStore):
        store.put("a/b", b"1")
        for _ in range(2):
            store.delete(["x", "a/b", "a", "a/b/c"])
        assert store.list("") == []
        store.delete([])

    def test_delete_takes_more_keys_than_one_request_holds(self, store: ObjectStore):
        keys = [f"many/{n:04d}" for n in range(30)]
        for key in keys:
            store.put(key, b"x")
        store.delete(keys + [f"absent/{n}" for n in range(1000)])
        assert store.list("") == []

    def test_put_works_where_all_was_deleted(self, store: ObjectStore):
        for _ in range(3):
            store.put("deep/er/k", b"x")
            store.delete(["deep/er/k"])
        store.put("deep/er/k", b"y")
        assert store.get("deep/er/k") == b"y"

    def test_list_gives_sizes_and_only_the_prefix(self, store: ObjectStore):
        for key, size in (("a/1", 5), ("a/2", 0), ("a1", 1), ("b/1", 2)):
            store.put(key, bytes(size))
        assert [(info.key, info.size) for info in store.list("a/")] == [("a/1", 5), ("a/2", 0)]
        assert [info.key for info in store.list("a/2")] == ["a/2"]
        assert store.list("c") == []

    def test_list_prefix_may_end_within_a_part(self, store: ObjectStore):
        keys = [f"fs/{part}/{n}_0_0" for part in (1, 10, 2) for n in (7, 70, 8)]
        for key in keys:
            store.put(key, b"x")
        for prefix in ("fs/1", "fs/10/7", "fs/1/7", "f", "fs/2/", ""):
            assert [info.key for info in store.list(prefix)] == [key for key in sorted(keys) if key.startswith(prefix)]

    def test_pages_of_a_listing_join_to_the_whole(self, store: ObjectStore):
        keys = sorted(f"{n % 3}/{n // 3}" for n in range(24))
        for key in keys:
            store.put(key, b"x")
        for limit in (1, 5, 24, 1000):
            seen: list[str] = []
            while page := store.list("", seen[-1] if seen else "", limit):
                assert len(page) <= limit
                seen += [info.key for info in page]
            assert seen == keys

    def test_list_may_begin_after_a_key_that_is_not_there(self, store: ObjectStore):
        for key in ("a/1", "a/3", "b/1"):
            store.put(key, b"x")
        assert [info.key for info in store.list("", "a/2")] == ["a/3", "b/1"]
        assert [info.key for info in store.list("a/", "a/3")] == []
        assert [info.key for info in store.list("b/", "a/2")] == ["b/1"]
        assert [info.key for info in store.list("a/", "Z")] == ["a/1", "a/3"]

    def test_list_of_nothing_asked_for_is_empty(self, store: ObjectStore):
        store.put("a", b"x")
        assert store.list("", "", 0) == []

    @pytest.mark.parametrize(
        "key",
        ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "../a", "a b", "ä", "a\n", "a\0", "x" * 256, "x/" * 600],
    )
    def test_what_some_store_cannot_keep_is_no_key(self, store: ObjectStore, key):
        for call in (lambda: store.put(key, b"x"), lambda: store.get(key), lambda: store.delete([key])):
            with pytest.raises(InvalidArgument):
                call()
        assert store.list("") == []

    @pytest.mark.parametrize(
        "key", [".hidden", "a/.b", "...", "A_b-c.d+e=f,g:h;i~", "%41", "a%2Fb", "x" * 255, "a&b?c#d"]
    )
    def test_unusual_keys_come_back_unchanged(self, store: ObjectStore, key):
        store.put(f"odd/{key}", b"x")
        assert store.get(f"odd/{key}") == b"x"
        assert [info.key for info in store.list("odd/")] == [f"odd/{key}"]
        store.delete([f"odd/{key}"])
        assert store.list("") == []

    def test_many_threads_may_use_it_at_once(self, store: ObjectStore):
        together = threading.Barrier(8)

        def work(n: int) -> None:
            together.wait(30)
            for round_ in range(4):
                key = f"shared/{round_}/{n}"
                store.put(key, key.encode())
                assert store.get(key) == key.encode()
                store.delete([key])

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(work, range(8)))
        assert store.list("") == []

    def test_check_passes_and_leaves_nothing(self, store: ObjectStore):
        check_store(store)
        assert store.list("") == []
