"""What the MDS does to object stores itself: the check at creation, and the removal of a deleted filesystem's objects.

Object stores block; every call runs in a thread with a deadline. Their errors become ours here.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator

from ..common.errors import ObjectStoreUnavailable, Unavailable
from ..object.answers import translated
from ..object.protocol import ObjectStore
from .threads import Threads

_BATCH = 1000


class ObjectStores:
    """The object stores of all filesystems.

    open_store: object/url.py's; raises InvalidArgument for a URL that cannot be read. check_store: a real put, get and
    delete. objects_per_s: bounds the rate of removal, of one filesystem.
    """

    def __init__(
        self,
        open_store: Callable[..., ObjectStore],
        check_store: Callable[[ObjectStore], None],
        *,
        check_deadline_s: float = 20.0,
        batch_deadline_s: float = 120.0,
        objects_per_s: float = 2000.0,
    ) -> None:
        self._open_store = open_store
        self._check_store = check_store
        self._check_deadline_s = check_deadline_s
        self._batch_deadline_s = batch_deadline_s
        self._objects_per_s = objects_per_s
        self._threads = Threads(8)

    async def check(self, url: str) -> None:
        """Put, get and delete an object.

        Raises InvalidArgument (URL), PermissionDenied or NotFound (credentials, bucket), NoSpace,
        ObjectStoreUnavailable (no answer in time).
        """

        def work() -> None:
            store = self._open_store(url, make=True)
            try:
                self._check_store(store)
            finally:
                store.close()

        with _translated(url, self._check_deadline_s):
            await self._threads.run(work, self._check_deadline_s)

    async def remove_all(self, url: str, prefix: str) -> int:
        """Delete every object whose key begins with ``prefix`` and return how many there were.

        Raises as check() does; then some may be gone. Called again it goes on.
        """
        with _translated(url, self._batch_deadline_s):
            store = await self._threads.run(lambda: self._open_store(url), self._batch_deadline_s)
            try:
                return await self._remove_all(store, url, prefix)
            finally:
                # In a thread and bounded as well: closing may wait for connections.
                with contextlib.suppress(TimeoutError):
                    await self._threads.run(store.close, self._batch_deadline_s)

    async def _remove_all(self, store: ObjectStore, url: str, prefix: str) -> int:
        def next_batch(after: str) -> list[str]:
            keys = [info.key for info in store.list(prefix, after, _BATCH)]
            if keys:
                store.delete(keys)
            return keys

        count, after = 0, ""
        while keys := await self._threads.run(lambda after=after: next_batch(after), self._batch_deadline_s):  # type: ignore[misc] # a lambda's default
            count += len(keys)
            after = keys[-1]
            await asyncio.sleep(len(keys) / self._objects_per_s)
        # What a dying mount still put behind the cursor, or a store that lists late.
        if await self._threads.run(lambda: store.list(prefix, "", 1), self._batch_deadline_s):
            raise Unavailable(f"objects below {prefix} remain in {url}")
        return count


@contextlib.contextmanager
def _translated(url: str, deadline_s: float) -> Iterator[None]:
    try:
        with translated(url):
            yield
    except TimeoutError as error:
        raise ObjectStoreUnavailable(f"the object store {url} did not answer within {deadline_s:.0f} s") from error
