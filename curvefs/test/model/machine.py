"""Scripts of steps, and the player who takes them in a world and compares every read with what it may find."""

import os
import tempfile
from functools import partial
from pathlib import Path
from random import Random
from unittest.mock import patch

import trio
import trio.testing
from hypothesis import strategies as st
from structlog.testing import capture_logs

from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.errors import CurveFSError, NotFound, SessionEnded
from curvefs.test.client.data.lab import pattern

from .contents import Log, PlainFile, mismatch
from .faults import HOW, MUTATIONS, READS, STORE_FAULTS, quiet
from .mount import ROOT, Kind, Mount
from .server import GEOMETRY
from .world import World, world

SIZE = 2 * GEOMETRY.chunk_size + 500
LOG_READ_MAX = 1 << 20
PLAIN_FILES, MOUNTS = 2, 2
KINDS = {
    "plain": [Kind(), Kind()],
    "disk cache": [Kind(disk=True), Kind()],
    "write-back": [Kind(disk=True, write_back=True), Kind(disk=True)],
    "two write-back": [Kind(disk=True, write_back=True), Kind(disk=True, write_back=True)],
}

HOLDS = ("", "before", "after")  # where a merge stops until it is released
Step = tuple
Script = tuple[str, float, list[Step]]


def scripts(
    *, min_size: int = 10, max_size: int = 60, kinds=tuple(KINDS), only: tuple[str, ...] = ()
) -> st.SearchStrategy[Script]:
    """Return (kind of mounts, seconds a call of the store takes, steps).

    only: these steps, as often as they are named.
    """
    weighted = [step for name, weight, step in _steps() for _ in range(weight * only.count(name) if only else weight)]
    one = st.sampled_from(range(len(weighted))).flatmap(weighted.__getitem__)
    steps = st.lists(one, min_size=min_size, max_size=max_size)
    return st.tuples(st.sampled_from(kinds), st.sampled_from([0.01, 0.2]), steps)


def _steps() -> list[tuple[str, int, st.SearchStrategy[Step]]]:
    """Return the steps: name, how often it is drawn, and with what."""
    mount, file = st.integers(0, MOUNTS - 1), st.sampled_from([0, 0, 0, 1])
    border = st.sampled_from([0, 500, 1000, 1024, 2000, 4096, 5000, 8192])
    offset, length = st.one_of(border, st.integers(0, SIZE)), st.one_of(st.integers(1, 60), st.integers(1, SIZE // 3))
    who = st.integers(0, MOUNTS)  # the last is the worker

    def step(name, weight, *arguments):
        return name, weight, st.tuples(st.just(name), *arguments)

    return [
        step("write", 8, mount, file, offset, length),
        step("continue_write", 3, mount, file, length),
        step("append", 4, mount, st.integers(1, 3)),
        step("truncate", 4, mount, file, offset),
        step("read", 3, mount, file, offset, length),
        step("read_all", 4, mount, file),
        step("fsync", 4, mount, file),
        step("close", 2, mount, file),
        step("fsync_log", 1, mount),
        step("read_log", 2, mount),
        step("publish", 1, mount, file),
        step("drop_caches", 2, mount),
        step("kill", 2, mount, st.booleans()),
        step("start", 2, mount),
        step("compact", 3, st.sampled_from([0, 0, 1, 2]), st.sampled_from([0, 0, 1]), st.sampled_from(HOLDS)),
        step("release", 1),
        step("elect", 1),
        step("background", 1),
        step("wait", 3, st.sampled_from([1, 100, 1500, 6000, 6000, 61_000])),
        step("wait", 1, st.just(700_000)),
        step("store_fails", 2, who, st.sampled_from(["put", "get"]), st.sampled_from(sorted(STORE_FAULTS))),
        step("store_away", 1, who, st.sampled_from([1, 10, 50])),
        step("metadata_fails", 2, mount, st.sampled_from(MUTATIONS), st.sampled_from(HOW)),
        step("metadata_fails", 1, mount, st.sampled_from(READS), st.just("before")),
        step("leader_fails", 1, st.sampled_from(["before", "applied"])),
        step("disk", 1, mount, st.sampled_from(["well", "full", "failing"])),
        step("damage", 1, mount, st.integers(0, 10)),
        step("flood", 1, mount),
        step("session_ends", 1, mount),
    ]


class Mismatch(AssertionError):
    """Something reads as it must not, or an error has no cause."""


class Player:
    """See the module."""

    def __init__(self, this: World) -> None:
        self._world = this
        self._files: list[PlainFile] = []
        self._log = Log(0)
        self._at = 0
        self._seed = 0

    async def begin(self) -> None:
        first = self._world.mounts[0]
        self._files = [PlainFile(await first.create(f"f{n}".encode())) for n in range(PLAIN_FILES)]
        self._log = Log(await first.create(b"log"))

    async def play(self, script: list[Step]) -> None:
        await self.begin()
        for name, *arguments in script:
            await getattr(self, name)(*arguments)
            self._world.check()
        await self.end()

    # -------------------------------------------------------------------------------------- plain files

    async def write(self, number: int, which: int, offset: int, size: int) -> None:
        file = self._files[which]
        mount = await self._writer(number, file)
        if mount is None:
            return
        self._seed += 1
        self._at = offset + size
        before = file.own.ljust(offset, b"\0")
        version = before[:offset] + pattern(size, self._seed) + before[offset + size :]
        await self._change(
            mount, file, version, mount.vfs.write(mount.handles[file.inode_id], offset, version[offset : offset + size])
        )

    async def continue_write(self, number: int, which: int, size: int) -> None:
        await self.write(number, which, self._at, size)

    async def truncate(self, number: int, which: int, length: int) -> None:
        file = self._files[which]
        mount = await self._writer(number, file)
        if mount is None:
            return
        version = file.own[:length].ljust(length, b"\0")
        request = pb.SetAttr(inode_id=file.inode_id, length=length)
        if await self._change(mount, file, version, mount.vfs.setattr(request)):
            file.was_published()

    async def _change(self, mount: Mount, file: PlainFile, version: bytes, call) -> bool:
        """Make a call that makes a version; when it fails, look what came of it."""
        before = file.own
        try:
            await call
        except CurveFSError as error:
            self._excuse(mount, file.inode_id, error)
            file.changed(mount.number, version)
            file.views[mount.number] = [before, version]
            await self._look(mount, file)
            return False
        file.changed(mount.number, version)
        return True

    async def read(self, number: int, which: int, offset: int, size: int) -> None:
        mount, file = self._world.mounts[number], self._files[which]
        if not await self._is_open(mount, file):
            return
        try:
            found = await mount.vfs.read(mount.handles[file.inode_id], offset, size)
        except CurveFSError as error:
            self._excuse(mount, file.inode_id, error)
            return
        self._compare(f"mount {number}, file {which}", file.views[number], offset, size, found)

    async def read_all(self, number: int, which: int) -> None:
        await self.read(number, which, 0, 2 * SIZE)

    async def fsync(self, number: int, which: int) -> None:
        mount, file = self._world.mounts[number], self._files[which]
        await self._sync(mount, file, mount.fsync)

    async def close(self, number: int, which: int) -> None:
        mount, file = self._world.mounts[number], self._files[which]
        if file.inode_id not in mount.handles:
            return
        await self._sync(mount, file, mount.close)
        file.views.pop(number, None)

    async def publish(self, number: int, which: int) -> None:
        mount, file = self._world.mounts[number], self._files[which]
        await self._sync(mount, file, mount.publish)

    async def _sync(self, mount: Mount, file: PlainFile, call) -> bool:
        """Make a call after which everything is durable; says whether it did so."""
        if not mount.alive:
            return False
        try:
            await call(file.inode_id)
        except CurveFSError as error:
            self._excuse(mount, file.inode_id, error)
            return False
        mount.clean_hits[file.inode_id] = mount.faults.hits
        if file.writer == mount.number:
            if mount.unpublished(file.inode_id):
                assert mount.kind.write_back, "what was synced is published"
                file.was_synced()
            else:
                file.was_published()
        return True

    async def _writer(self, number: int, file: PlainFile) -> Mount | None:
        """Return the mount that may write to a file, with an open handle; None: nobody may now.

        It has opened the file after the last writer had everything published.
        """
        mount = self._world.mounts[number]
        if not mount.alive:
            return None
        if file.writer is not None and file.writer != number:
            other = self._world.mounts[file.writer]
            if not other.alive or not await self._sync(other, file, other.publish):
                return None
        if file.writer is None:
            await self._sync(mount, file, mount.close)
            file.views.pop(number, None)
        return mount if await self._is_open(mount, file) else None

    async def _is_open(self, mount: Mount, file: PlainFile) -> bool:
        if not mount.alive:
            return False
        if file.inode_id not in mount.handles:
            try:
                await mount.open(file.inode_id)
            except CurveFSError as error:
                self._excuse(mount, file.inode_id, error)
                return False
            file.opened(mount.number)
        return True

    async def _look(self, mount: Mount, file: PlainFile) -> None:
        """See what came of a call whose outcome is unknown."""
        with quiet(*self._world.all_faults):
            self._world.server.arrive(mount.lane.session_id)
            found = await self._read_fresh(mount, file.inode_id)
        self._compare("after a call that failed", file.views[mount.number], 0, 2 * SIZE, found)
        file.looked_at(found)

    async def _read_fresh(self, mount: Mount, inode_id: int, size: int = 2 * SIZE) -> bytes:
        number, _ = await mount.vfs.open(inode_id, os.O_RDONLY)
        try:
            return await mount.vfs.read(number, 0, size)
        finally:
            await mount.vfs.release(number)

    # ---------------------------------------------------------------------------------------------- log

    async def append(self, number: int, count: int) -> None:
        mount = self._world.mounts[number]
        if not mount.alive:
            return
        records: list[bytes] = []
        try:
            handle = await mount.open(self._log.inode_id, append=True)
            records = [self._log.record(number) for _ in range(count)]
            await mount.vfs.write(handle, 0, b"".join(records))
        except CurveFSError as error:
            self._excuse(mount, self._log.inode_id, error)
            self._log.in_doubt(number)

    async def fsync_log(self, number: int) -> None:
        mount = self._world.mounts[number]
        if not mount.alive:
            return
        try:
            await mount.fsync(self._log.inode_id)
        except CurveFSError as error:
            self._excuse(mount, self._log.inode_id, error)
            self._log.in_doubt(number)
            return
        mount.clean_hits[self._log.inode_id] = mount.faults.hits
        if mount.unpublished(self._log.inode_id):
            self._log.was_synced(number)
        else:
            self._log.was_published(number)

    async def read_log(self, number: int) -> None:
        mount = self._world.mounts[number]
        if not mount.alive:
            return
        unpublished = mount.unpublished(self._log.inode_id)
        try:
            found = await self._read_fresh(mount, self._log.inode_id, LOG_READ_MAX)
        except CurveFSError as error:
            self._excuse(mount, self._log.inode_id, error)
            return
        self._compare_log(f"mount {number}", found, is_published=not unpublished)

    def _compare_log(self, who: str, found: bytes, *, is_published: bool = True) -> None:
        wrong = self._log.mismatch(found, is_published=is_published)
        if wrong is not None:
            raise Mismatch(f"{who}, log: {wrong}")

    # ------------------------------------------------------------------------------------------- mounts

    async def kill(self, number: int, arrives: bool) -> None:
        mount = self._world.mounts[number]
        if not mount.alive:
            return
        await self._world.kill(mount, arrives=arrives)
        self._log.was_killed(number)
        for which, file in enumerate(self._files):
            file.views.pop(number, None)
            if file.writer == number and not mount.kind.write_back:
                found = self._world.content(file.inode_id)
                self._compare(f"file {which} after mount {number} died", file.published, 0, 2 * SIZE, found)
                file.survived(found, published=True)

    async def start(self, number: int) -> None:
        mount = self._world.mounts[number]
        if mount.alive:
            return
        with quiet(*self._world.all_faults):
            await mount.start()
            for which, file in enumerate(self._files):
                if file.writer == number:
                    found = await self._read_fresh(mount, file.inode_id)
                    self._compare(f"file {which} after mount {number} came back", file.synced, 0, 2 * SIZE, found)
                    await self._is_open(mount, file)
                    file.survived(found, published=not mount.unpublished(file.inode_id))

    async def drop_caches(self, number: int) -> None:
        if self._world.mounts[number].alive:
            self._world.mounts[number].drop_caches()

    async def wait(self, milliseconds: int) -> None:
        await self._world.wait(milliseconds / 1000)

    # --------------------------------------------------------------------------------------- background

    async def compact(self, which: int, chunk: int, hold: str) -> None:
        if which < PLAIN_FILES:
            self._world.background.compact(self._files[which].inode_id, chunk, hold)
        else:
            self._world.background.compact(self._log.inode_id, chunk)

    async def release(self) -> None:
        self._world.background.release()

    async def elect(self) -> None:
        self._world.background.elect()

    async def background(self) -> None:
        self._world.background.rounds()

    # ------------------------------------------------------------------------------------- what goes wrong

    async def store_fails(self, who: int, operation: str, kind: str) -> None:
        self._store(who).plan(STORE_FAULTS[kind](operation))

    async def store_away(self, who: int, seconds: int) -> None:
        store = self._store(who)
        store.go_down()

        async def heal() -> None:
            await trio.sleep(seconds)
            store.come_up()

        self._world.nursery.start_soon(heal)

    async def metadata_fails(self, number: int, kind: str, how: str) -> None:
        self._world.mounts[number].faults.plan(kind, how)

    async def leader_fails(self, how: str) -> None:
        self._world.background.leader.failing.append(how)

    async def disk(self, number: int, mode: str) -> None:
        disk = self._world.mounts[number].disk
        if disk is not None:
            disk.mode = mode

    async def damage(self, number: int, nth: int) -> None:
        disk = self._world.mounts[number].disk
        if disk is not None:
            disk.damage(nth)

    async def flood(self, number: int) -> None:
        if self._world.mounts[number].alive:
            self._world.mounts[number].lane.flood()

    async def session_ends(self, number: int) -> None:
        mount = self._world.mounts[number]
        if mount.alive:
            self._world.server.end(mount.lane.session_id)
            mount.faults.hit()

    def _store(self, who: int):
        return self._world.store if who == MOUNTS else self._world.mounts[who].store

    # --------------------------------------------------------------------------------------------- the end

    async def end(self) -> None:
        """Heal everything: all is as it was written; then delete it: nothing is left."""
        this = self._world
        for one in (this.store, *(mount.store for mount in this.mounts)):
            one.forget_faults()
            one.come_up()
        this.background.leader.failing.clear()
        for faults in this.all_faults:
            faults.quiet = True
        this.background.release()
        for mount in this.mounts:
            await self.start(mount.number)
            for file in self._files:
                await self._sync(mount, file, mount.publish)
            await self._publish_log(mount)
        for which, file in enumerate(self._files):
            assert file.writer is None, "all is published"
            self._compare(f"file {which} in the end", [file.own], 0, 2 * SIZE, this.content(file.inode_id))
            for mount in this.mounts:
                found = await self._read_fresh(mount, file.inode_id)
                self._compare(f"file {which} in the end, mount {mount.number}", [file.own], 0, 2 * SIZE, found)
        self._compare_log("in the end", this.content(self._log.inode_id))
        await self._delete_all()
        await this.reclaim_everything()

    async def _publish_log(self, mount: Mount) -> None:
        for _ in range(2):  # the first may tell of what was lost before
            try:
                await mount.publish(self._log.inode_id)
                await mount.fsync(self._log.inode_id)
            except CurveFSError as error:
                self._excuse(mount, self._log.inode_id, error)
                self._log.in_doubt(mount.number)
        self._log.was_published(mount.number)

    async def _delete_all(self) -> None:
        for mount in self._world.mounts:
            for inode_id in list(mount.handles):
                await mount.close(inode_id)
        first = self._world.mounts[0]
        for name in (b"log", *(f"f{n}".encode() for n in range(PLAIN_FILES))):
            await self._unlink(first, name)
        for mount in self._world.mounts:
            await mount.unmount()

    async def _unlink(self, mount: Mount, name: bytes) -> None:
        try:
            await mount.vfs.unlink(ROOT, name)
        except SessionEnded:  # before this began
            await mount.vfs.unlink(ROOT, name)

    # ------------------------------------------------------------------------------------------- comparing

    def _excuse(self, mount: Mount, inode_id: int, error: CurveFSError) -> None:
        """An error comes only where something was made to fail."""
        if mount.faults.hits <= mount.clean_hits.get(inode_id, mount.hits_at_start) or isinstance(error, NotFound):
            raise Mismatch(f"mount {mount.number} raises without a cause: {error!r}") from error

    def _compare(self, what: str, versions: list[bytes], offset: int, size: int, found: bytes) -> None:
        wrong = mismatch(versions, offset, size, found)
        if wrong is not None:
            raise Mismatch(f"{what}: {wrong}")


async def _play(script: Script, folder: Path) -> None:
    kind, store_delay_s, steps = script
    async with world(KINDS[kind], folder, store_delay_s) as this:
        await Player(this).play(steps)


def play(script: Script) -> None:
    """Play a script in a world of its own. Raises what is wrong, as AssertionError mostly."""
    with (
        tempfile.TemporaryDirectory() as folder,
        capture_logs(),
        patch("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", True),
        patch("trio._core._run._r", Random(0)),
    ):
        trio.run(partial(_play, script, Path(folder)), clock=trio.testing.MockClock(autojump_threshold=0))
