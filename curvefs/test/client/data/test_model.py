"""A file against a bytearray: whatever is written, cut, flushed, failed and reopened in between, reads are right."""

from collections.abc import Callable
from contextlib import suppress

import trio
import trio.testing
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from curvefs.src.common.errors import CurveFSError, IOFailure, SessionEnded, Unavailable
from curvefs.src.slices.geometry import Geometry

from .lab import KIB, MIDDLE, TINY, Lab, lab, pattern

OUTAGE_S_MAX = 25
STORE_TIMEOUT_S = 60.0

Step = tuple[str, int, int]


def scripts(size: int) -> st.SearchStrategy[list[Step]]:
    """Steps on a file of up to ``size`` bytes: a name and two numbers."""
    offset, length = st.integers(0, size), st.integers(1, size // 4)
    nothing = st.just(0)
    step = st.one_of(
        st.tuples(st.just("write"), offset, length),
        st.tuples(st.just("write"), offset, st.integers(1, 50)),
        st.tuples(st.just("continue"), length, nothing),
        st.tuples(st.just("append"), length, nothing),
        st.tuples(st.just("read"), offset, length),
        st.tuples(st.just("read sequentially"), length, st.integers(1, 5)),
        st.tuples(st.just("truncate"), offset, nothing),
        st.tuples(st.just("flush"), nothing, nothing),
        st.tuples(st.just("flush behind"), nothing, nothing),
        st.tuples(st.just("wait"), st.sampled_from([1, 10, 100, 3000, 6000, 61000]), nothing),
        st.tuples(st.just("reopen"), nothing, nothing),
        st.tuples(st.just("store away"), st.integers(1, OUTAGE_S_MAX), nothing),
        st.tuples(st.just("metadata fails"), st.integers(0, 5), st.integers(1, 2)),
        st.tuples(st.just("session ends"), nothing, nothing),
        st.tuples(st.just("forget blocks"), nothing, nothing),
    )
    return st.lists(step, min_size=8, max_size=50)


FAILURES: list[tuple[Callable[[], CurveFSError], bool]] = [
    (Unavailable, False),
    (Unavailable, True),
    (IOFailure, False),
    (IOFailure, True),
    (SessionEnded, False),
    (SessionEnded, True),
]


class Player:
    """Plays a script on a file and on a bytearray."""

    def __init__(self, this: Lab, nursery: trio.Nursery) -> None:
        self._lab = this
        self._nursery = nursery
        self._file = this.open()
        self._reader = self._file.reader()
        self._expected = bytearray()
        self._at = 0
        self._seed = 0

    async def play(self, script: list[Step]) -> None:
        """Play all steps, then heal and compare everything."""
        for name, one, two in script:
            await getattr(self, name.replace(" ", "_"))(one, two)
            dirty, cached, limit = self._lab.data.memory
            assert dirty + cached <= limit
            assert self._file.length == len(self._expected)
        await self._succeed(self._file.flush)
        assert not self._file.dirty
        assert self._lab.metadata.content() == bytes(self._expected)
        await self.read(0, len(self._expected) + 1)
        assert self._lab.data.memory[0] == 0

    async def write(self, offset: int, size: int) -> None:
        data = self._data(size)
        if offset > len(self._expected):
            self._expected += bytes(offset - len(self._expected))
        self._expected[offset : offset + size] = data
        self._at = offset + size
        assert await self._file.write(offset, data) == size

    async def continue_(self, size: int, _: int) -> None:
        await self.write(self._at, size)

    async def append(self, size: int, _: int) -> None:
        data = self._data(size)
        self._expected += data
        assert await self._file.append(data) == size

    async def read(self, offset: int, size: int) -> None:
        assert await self._file.read(offset, size) == self._expected[offset : offset + size]

    async def read_sequentially(self, size: int, count: int) -> None:
        for n in range(count):
            assert await self._reader.read(n * size, size) == self._expected[n * size : (n + 1) * size]

    async def truncate(self, length: int, _: int) -> None:
        async def truncate() -> None:
            assert (await self._file.truncate(length)).length == length

        await self._succeed(truncate)
        del self._expected[length:]
        self._expected += bytes(length - len(self._expected))

    async def flush(self, *_: int) -> None:
        with suppress(CurveFSError):
            await self._file.flush()
            assert not self._file.dirty

    async def flush_behind(self, *_: int) -> None:
        self._nursery.start_soon(self._flush_quietly)
        await trio.sleep(0)

    async def wait(self, milliseconds: int, _: int) -> None:
        await trio.sleep(milliseconds / 1000)

    async def reopen(self, *_: int) -> None:
        self._lab.data.close_file(self._file)
        await trio.sleep(0)
        self._file = self._lab.open()
        self._reader = self._file.reader()

    async def store_away(self, seconds: int, _: int) -> None:
        self._lab.store.go_down()
        self._nursery.start_soon(self._heal, seconds)

    async def metadata_fails(self, which: int, times: int) -> None:
        error, applied = FAILURES[which]
        self._lab.metadata.fail("append_slices", error(), applied=applied, times=times)

    async def session_ends(self, *_: int) -> None:
        self._lab.metadata.end_session()

    async def forget_blocks(self, *_: int) -> None:
        for name in self._lab.object_names():
            self._lab.data._cache.drop(name)

    def _data(self, size: int) -> bytes:
        self._seed += 1
        return pattern(size, self._seed)

    async def _flush_quietly(self) -> None:
        with suppress(CurveFSError):
            await self._file.flush()

    async def _heal(self, seconds: int) -> None:
        await trio.sleep(seconds)
        self._lab.store.come_up()

    async def _succeed(self, call: Callable[[], object]) -> None:
        """Do something that planned failures may fail, until they are used up."""
        for _ in range(100):
            with suppress(CurveFSError):
                await call()  # type: ignore[misc]
                return
        raise AssertionError("it never succeeds")


setattr(Player, "continue", Player.continue_)


async def play(geometry: Geometry, budget: int, delays: tuple[float, float], script: list[Step]) -> None:
    metadata_delay_s, store_delay_s = delays
    async with (
        lab(
            geometry,
            memory_budget=budget,
            store_timeout_s=STORE_TIMEOUT_S,
            metadata_delay_s=metadata_delay_s,
            store_delay_s=store_delay_s,
        ) as this,
        trio.open_nursery() as nursery,
    ):
        await Player(this, nursery).play(script)


delays = st.sampled_from([(0.001, 0.01), (0.5, 0.01), (0.01, 2.0)])


# An append whose answer was lost, seen by an open before it is tried again.
APPENDED_UNHEARD = [
    ("continue", 1, 0),
    ("flush", 0, 0),
    ("append", 1, 0),
    ("metadata fails", 1, 1),
    ("flush", 0, 0),
    ("reopen", 0, 0),
]


@given(delays, scripts(12_000))
@example((0.001, 0.01), APPENDED_UNHEARD)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_file_behaves_as_a_bytearray(delays, script):
    trio.run(play, TINY, 64 * KIB, delays, script, clock=trio.testing.MockClock(autojump_threshold=0))


@given(delays, scripts(3 << 20))
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_file_of_whole_blocks_and_pieces_behaves_as_a_bytearray(delays, script):
    trio.run(play, MIDDLE, 4 << 20, delays, script, clock=trio.testing.MockClock(autojump_threshold=0))
