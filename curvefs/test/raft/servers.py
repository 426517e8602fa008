"""Several raft servers with a disk and a shell each, an explicit network, and an explicit time. No chance anywhere.

A server's disk takes a write when it is told to (or at once); a crash loses what it has not taken. The state machine is
the list of what was applied; a snapshot is that list as bytes.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from curvefs.src.raft import messages as m
from curvefs.src.raft.configuration import Configuration
from curvefs.src.raft.core import Raft, SnapshotWork, Start
from curvefs.src.raft.follower import StoreChunk
from curvefs.src.raft.leader import MakeSnapshot, ReadChunk
from curvefs.src.raft.log import Base
from curvefs.src.raft.messages import Entry, EntryKind, HardState, Message
from curvefs.src.raft.state import Settings, Write


@dataclass
class Disk:
    """What outlives a crash. state: (index, data) of what was applied, up to the base."""

    configuration: Configuration = field(default_factory=Configuration)
    hard_state: HardState = field(default_factory=HardState)
    base: Base = field(default_factory=Base)
    state: list[tuple[int, bytes]] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    @property
    def last_index(self) -> int:
        return self.base.index + len(self.entries)

    def take(self, write: Write) -> None:
        if write.hard_state is not None:
            self.hard_state = write.hard_state
        if write.entries:
            first = write.entries[0].index
            assert self.base.index < first <= self.last_index + 1, "no holes on disk"
            self.entries[first - self.base.index - 1 :] = write.entries

    def compact(self, base: Base, configuration: Configuration, state: list[tuple[int, bytes]]) -> None:
        del self.entries[: base.index - self.base.index]
        self.base, self.configuration, self.state = base, configuration, state


@dataclass
class Happened:
    """What came of one call, in order."""

    sent: list[Message] = field(default_factory=list)
    applied: list[Entry] = field(default_factory=list)
    reads: list[tuple[int, int]] = field(default_factory=list)
    work: list[str] = field(default_factory=list)


class Server:
    """One server. writes_at_once, works_at_once: whether disk and shell act unasked."""

    def __init__(self, id_: int, settings: Settings, disk: Disk, jitter: float, now: float) -> None:
        self.id = id_
        self.settings = settings
        self.disk = disk
        self.jitter = jitter
        self.writes_at_once = self.works_at_once = True
        self.chunk_bytes = 8
        self.start(now)

    def start(self, now: float) -> None:
        """Start from what the disk has."""
        disk = self.disk
        start = Start(disk.hard_state, disk.base, disk.base.index, disk.configuration, tuple(disk.entries))
        self.is_up = True
        self.writing: Write | None = None
        self.work: list[SnapshotWork] = []
        self.state = list(disk.state)
        self.snapshots: dict[int, bytes] = {}
        self._incoming = b""
        self.raft = Raft(self.id, self.settings, start, now=now, jitter=lambda: self.jitter)

    def crash(self) -> None:
        self.is_up = False

    # ---------------------------------------------------------------------------------------------- shell

    def pump(self, now: float) -> Happened:
        """Do what the server asks for, until it asks for nothing."""
        happened = Happened()
        for _ in range(1000):
            wrote = self.writes_at_once and self.write() and self.written(now)
            ready = self.raft.ready(now)
            happened.sent += ready.messages
            happened.applied += ready.committed
            happened.reads += ready.reads
            happened.work += [_named(work) for work in ready.snapshots]
            self.state += [(entry.index, entry.data) for entry in ready.committed if entry.kind is EntryKind.NORMAL]
            self.work += ready.snapshots
            worked = self.works_at_once and self.do_work()
            if not (wrote or worked or any(ready)):
                return happened
        raise AssertionError("it never comes to rest")

    def write(self) -> bool:
        """Begin a write; says whether one is under way."""
        if self.writing is None:
            self.writing = self.raft.take_write()
        return self.writing is not None

    def written(self, now: float) -> bool:
        """The disk has the write."""
        assert self.writing is not None
        self.disk.take(self.writing)
        self.writing = None
        self.raft.written(now)
        return True

    def refused(self) -> None:
        """The disk has nothing of the write."""
        self.writing = None
        self.raft.not_written()

    def compact(self, index: int) -> None:
        log = self.raft.log
        base = Base(index, log.term_of(index) or 0)
        self.disk.compact(base, log.configuration_at(index), [one for one in self.state if one[0] <= index])
        self.raft.compact(index)

    def do_work(self) -> bool:
        """Do the first work on a snapshot that is asked for; says whether there was one."""
        if not self.work:
            return False
        match self.work.pop(0):
            case MakeSnapshot(to):
                self._make_snapshot(to)
            case ReadChunk(to, index, offset) if index in self.snapshots:
                data = self.snapshots[index][offset : offset + self.chunk_bytes]
                last = offset + self.chunk_bytes >= len(self.snapshots[index])
                self.raft.chunk_read(to, index, offset, data, last=last)
            case ReadChunk(to, index, _):
                self.raft.snapshot_gone(to, index)
            case StoreChunk(chunk):
                self._store(chunk)
        return True

    def _make_snapshot(self, to: int) -> None:
        log = self.raft.log
        base = Base(log.applied, log.term_of(log.applied) or 0)
        self.snapshots[base.index] = b";".join(b"%d=%s" % one for one in self.state)
        self.raft.snapshot_made(to, base, log.configuration_at(base.index))

    def _store(self, chunk: m.SnapshotChunk) -> None:
        if not self.raft.expects(chunk):
            return
        self._incoming = (self._incoming if chunk.offset else b"") + chunk.data
        assert len(self._incoming) == chunk.offset + len(chunk.data), "chunks come one after the other"
        if not chunk.last:
            self.raft.chunk_stored(chunk)
            return
        pairs = (part.partition(b"=") for part in self._incoming.split(b";") if part)
        self.state = [(int(index), data) for index, _, data in pairs]
        self.disk = Disk(
            chunk.configuration, self.disk.hard_state, Base(chunk.index, chunk.snapshot_term), list(self.state)
        )
        self.raft.installed(self.disk.base, chunk.configuration)


class Network:
    """Messages under way, in the order they were sent, and those that are held back."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.held: list[Message] = []
        self._holds: Callable[[Message], bool] = lambda _: False
        self._cut: set[tuple[int, int]] = set()

    def cut(self, links: Iterable[tuple[int, int]]) -> None:
        self._cut |= set(links)
        self.messages = [one for one in self.messages if not self.loses(one)]

    def heal(self) -> None:
        self._cut.clear()

    def loses(self, message: Message) -> bool:
        return (message.source, message.to) in self._cut

    def send(self, message: Message) -> None:
        if not self.loses(message):
            (self.held if self._holds(message) else self.messages).append(message)

    def hold(self, picks: Callable[[Message], bool]) -> None:
        """Hold back such messages from now on, those under way too."""
        self._holds = picks
        self.held += self.take(picks)

    def release(self) -> None:
        """Let go what was held back: it comes after all that is under way."""
        self._holds = lambda _: False
        self.messages += self.held
        self.held = []

    def take(self, picks: Callable[[Message], bool], count: int | None = None) -> list[Message]:
        taken = [one for one in self.messages if picks(one)][:count]
        chosen = {id(one) for one in taken}
        self.messages = [one for one in self.messages if id(one) not in chosen]
        return taken

    def remove(self, message: Message) -> None:
        self.messages = [one for one in self.messages if one is not message]

    def duplicate(self, picks: Callable[[Message], bool]) -> None:
        self.messages += [replace(one) for one in self.messages if picks(one)]


def _named(work: SnapshotWork) -> str:
    match work:
        case MakeSnapshot(to):
            return f"make a snapshot for {to}"
        case ReadChunk(to, index, offset):
            return f"read snapshot {index} at {offset} for {to}"
        case StoreChunk(chunk):
            return f"store snapshot {chunk.index} at {chunk.offset}" + (" and install it" if chunk.last else "")
