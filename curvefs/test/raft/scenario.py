"""An interpreter of scenario files, in the form of etcd's datadriven tests.

    # what the block shows
    command argument name=value
    ----
    what came of it, or "ok"

Several commands may share a block; a blank line ends it. Servers answer at once, but messages lie in the network until
a command delivers them. After every command the invariants are looked at.

    servers 1,2,3 [learners=..] [log1=1,1,4] [term1=..] [setting=value ..]   make a group; a log is given by its terms
    campaign N | propose N data.. | change N voters [learners] | transfer N to=M | read N id | wake N | compact N index
    tick SECONDS        time goes on; nothing is delivered        wait SECONDS   the same, and everything is delivered
    deliver [from= to= kind= count=]     settle    drop ..   duplicate ..   reverse   hold ..   release
    ask-vote N M term=T                  a vote is asked for by one that has everything and never asked whether it may
    cut N [M]   heal   pause N (its time stands still)   crash N   restart N   empty N term=T   join N
    disk N slow|fast   write N   written N   refused N   drop-unwritten N
    shell N slow|fast   work N   spoil N
    status   log N..   lease N   progress N   show tokens|all|brief|nothing
"""

from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from curvefs.src.common.errors import CurveFSError
from curvefs.src.raft.configuration import Configuration
from curvefs.src.raft.follower import StoreChunk
from curvefs.src.raft.messages import Entry, EntryKind, HardState, Message, Vote
from curvefs.src.raft.state import Settings

from . import words
from .invariants import Invariants
from .servers import Disk, Happened, Network, Server

STEP_S = 0.05


class Block(NamedTuple):
    comments: str
    commands: list[str]
    expected: str


def parse(text: str) -> list[Block]:
    """Return the blocks of a file."""
    blocks = []
    for part in text.strip().split("\n\n"):
        said, _, expected = (part + "\n").partition("\n----\n")
        lines = said.splitlines()
        comments = "".join(f"{line}\n" for line in lines if line.startswith("#"))
        blocks.append(Block(comments, [line for line in lines if line and line[0] != "#"], expected))
    return blocks


def played(text: str) -> str:
    """Return a file's text with what comes of its commands now."""
    scenario = Scenario()
    parts = []
    for block in parse(text):
        if not block.commands:
            parts.append(block.comments)
            continue
        lines = [line for command in block.commands for line in scenario.run(command)]
        said = "\n".join(block.commands)
        parts.append(f"{block.comments}{said}\n----\n" + "\n".join(lines or ["ok"]) + "\n")
    return "\n".join(parts)


def play(path: Path, *, rewrite: bool) -> None:
    """Fail when a file's expectations are not met; or make them anew."""
    text = path.read_text()
    now = played(text)
    if rewrite:
        path.write_text(now)
        return
    assert now == text, "see the diff; --rewrite takes it over, when it is right"


class Scenario:
    """The state of one file's run."""

    def __init__(self) -> None:
        self._show = "all"
        self._begin()

    def _begin(self) -> None:
        self.servers: dict[int, Server] = {}
        self.now = 0.0
        self._network = Network()
        self._invariants = Invariants()
        self._settings = Settings()
        self._paused: set[int] = set()
        self._known: dict[int, tuple[str, int]] = {}
        self._lines: list[str] = []

    def run(self, command: str) -> list[str]:
        """Run one command; returns what came of it."""
        self._lines = []
        name, *words_ = command.split()
        named = dict(word.split("=", 1) for word in words_ if "=" in word)
        handler: Callable[..., None] = getattr(self, "_do_" + name.replace("-", "_"))
        try:
            handler(*[word for word in words_ if "=" not in word], **{f"{key}_": named[key] for key in named})
        except CurveFSError as error:
            self._lines.append(f"{type(error).__name__}: {error}")
        self._pump()
        return self._lines

    # ------------------------------------------------------------------------------------------- servers

    def _do_servers(self, voters: str, *, learners_: str = "", **named: str) -> None:
        self._begin()
        configuration = Configuration(_ids(voters), (), _ids(learners_))
        kinds: dict[str, Any] = {one.name: type(one.default) for one in fields(Settings)}
        given = {key[:-1]: value for key, value in named.items()}
        settings = {key: kinds[key](float(value)) for key, value in given.items() if key in kinds}
        self._settings = replace(Settings(quiet_after_s=0), **settings)
        for id_ in configuration.members:
            terms = _ids(given.pop(f"log{id_}", ""))
            term = int(given.pop(f"term{id_}", max(terms, default=0)))
            entries = [Entry(i, at, EntryKind.NORMAL, b"%d.%d" % (i, at)) for i, at in enumerate(terms, 1)]
            self._add(id_, Disk(configuration, HardState(term), entries=entries))
        assert given.keys() <= kinds.keys(), f"unknown: {given}"

    def _add(self, id_: int, disk: Disk) -> None:
        self.servers[id_] = Server(id_, self._settings, disk, jitter=id_ / 10 % 1, now=self.now)
        self._known.setdefault(id_, ("", 0))

    def _do_join(self, n: str) -> None:
        """A replica that is made without peers, into a group that is there already."""
        self._add(int(n), Disk(hard_state=HardState(joining=True)))

    def _do_empty(self, n: str, *, term_: str = "0") -> None:
        """The replica is thrown away, and made anew under the same id. term: of who led when it was no member."""
        self._add(int(n), Disk(hard_state=HardState(int(term_), joining=True)))

    def _do_pause(self, n: str) -> None:
        """Nothing is noticed there of the time that goes by; what arrives is taken before anything is."""
        self._paused.add(int(n))

    def _do_crash(self, n: str) -> None:
        self._server(n).crash()

    def _do_restart(self, n: str) -> None:
        self._server(n).start(self.now)

    # ------------------------------------------------------------------------------------------ requests

    def _do_campaign(self, n: str) -> None:
        self._server(n).raft.campaign(self.now)

    def _do_propose(self, n: str, *datas: str) -> None:
        encoded = [b"x" * int(data[1:]) if data[0] == "*" else data.encode() for data in datas]
        self._server(n).raft.propose(encoded, self.now)

    def _do_change(self, n: str, voters: str, learners: str = "") -> None:
        self._server(n).raft.change(_ids(voters), _ids(learners), (), self.now)

    def _do_transfer(self, n: str, *, to_: str) -> None:
        self._server(n).raft.transfer(int(to_), self.now)

    def _do_read(self, n: str, read_id: str) -> None:
        self._server(n).raft.ask_read(int(read_id), self.now)

    def _do_wake(self, n: str) -> None:
        self._server(n).raft.wake(self.now)

    def _do_compact(self, n: str, index: str) -> None:
        self._server(n).compact(int(index))

    # ---------------------------------------------------------------------------------------------- time

    def _do_tick(self, seconds: str) -> None:
        for _ in range(round(float(seconds) / STEP_S)):
            self._step_time()

    def _do_wait(self, seconds: str) -> None:
        show, self._show = self._show, "nothing" if self._show == "nothing" else "brief"
        for _ in range(round(float(seconds) / STEP_S)):
            self._step_time()
            self._do_settle()
        self._show = show

    def _step_time(self) -> None:
        self.now = round(self.now + STEP_S, 6)
        for server in self._up():
            if server.id not in self._paused:
                server.raft.tick(self.now)
        self._pump()

    # ------------------------------------------------------------------------------------------- network

    def _do_deliver(self, *, count_: str = "", **picks: str) -> None:
        for message in self._network.take(_picker(picks), int(count_) if count_ else None):
            server = self.servers.get(message.to)
            if server is not None and server.is_up:
                server.raft.step(message, self.now)
                self._pump()

    def _do_settle(self) -> None:
        for _ in range(1000):
            self._pump()
            if not self._network.messages:
                return
            self._do_deliver()
        raise AssertionError("it never settles")

    def _do_drop(self, *, count_: str = "", **picks: str) -> None:
        self._network.take(_picker(picks), int(count_) if count_ else None)

    def _do_duplicate(self, **picks: str) -> None:
        self._network.duplicate(_picker(picks))

    def _do_reverse(self) -> None:
        self._network.messages.reverse()

    def _do_hold(self, **picks: str) -> None:
        self._network.hold(_picker(picks))

    def _do_release(self) -> None:
        self._network.release()

    def _do_ask_vote(self, source: str, to: str, *, term_: str) -> None:
        self._network.send(Vote(int(source), int(to), int(term_), 1000, int(term_) - 1, pre=False))

    def _do_cut(self, n: str, other: str = "") -> None:
        one, others = int(n), [int(other)] if other else [*self.servers]
        self._network.cut([pair for at in others for pair in ((one, at), (at, one))])

    def _do_heal(self) -> None:
        self._network.heal()

    # ------------------------------------------------------------------------------------ disk and shell

    def _do_disk(self, n: str, speed: str) -> None:
        server = self._server(n)
        server.writes_at_once = speed == "fast"
        if server.writes_at_once and server.writing is not None:
            server.written(self.now)

    def _do_write(self, n: str) -> None:
        server = self._server(n)
        assert server.write() and server.writing is not None, "there is something to write"
        hard_state, entries = server.writing
        said = f" term {hard_state.term} vote {hard_state.vote}" if hard_state else ""
        self._lines.append(f"{n} writes{said} [{' '.join(map(words.of_entry, entries))}]")

    def _do_written(self, n: str) -> None:
        self._server(n).written(self.now)

    def _do_refused(self, n: str) -> None:
        self._server(n).refused()

    def _do_drop_unwritten(self, n: str) -> None:
        raft = self._server(n).raft
        may = raft.may_drop_unwritten
        self._lines.append(f"{n} drops {raft.drop_unwritten()}" if may else f"{n} may not: others may have them")

    def _do_shell(self, n: str, speed: str) -> None:
        self._server(n).works_at_once = speed == "fast"

    def _do_work(self, n: str) -> None:
        assert self._server(n).do_work(), "there is work"

    def _do_spoil(self, n: str) -> None:
        """The snapshot that comes in is of no use."""
        server = self._server(n)
        chunks = [work.chunk for work in server.work if isinstance(work, StoreChunk)]
        server.work.clear()
        for chunk in chunks:
            server.raft.snapshot_failed(chunk)

    # ------------------------------------------------------------------------------------------- looking

    def _do_show(self, what: str) -> None:
        self._show = what

    def _do_status(self) -> None:
        self._lines += [f"{id_} {words.of_standing(server)}" for id_, server in self.servers.items()]

    def _do_log(self, *ids: str) -> None:
        self._lines += [f"{n}: {words.of_log(self._server(n))}" for n in ids or map(str, self.servers)]

    def _do_lease(self, n: str) -> None:
        self._lines.append(f"{n} {'holds' if self._server(n).raft.holds_lease(self.now) else 'has no'} lease")

    def _do_progress(self, n: str) -> None:
        leadership = self._server(n).raft.leadership
        assert leadership is not None
        for to, one in leadership.progress.items():
            may = "may send" if one.may_send else "may not send"
            self._lines.append(f"{to}: {one.sending.value} match {one.match} next {one.next}, {may}")

    # ----------------------------------------------------------------------------------------- internals

    def _server(self, n: str) -> Server:
        return self.servers[int(n)]

    def _up(self) -> Iterable[Server]:
        return [server for server in self.servers.values() if server.is_up]

    def _pump(self) -> None:
        """Let every server do what it wants, and note what happened."""
        for server in self._up():
            happened = server.pump(self.now)
            self._note_changes(server)
            self._note(server, happened)
        self._invariants.look(self.servers.values(), self.now)

    def _say(self, line: str) -> None:
        if self._show != "nothing":
            self._lines.append(line)

    def _note_changes(self, server: Server) -> None:
        standing, committed = words.of_standing(server), server.raft.log.committed
        known = self._known[server.id]
        at = f"@{self.now:g} " if self._show == "brief" else ""
        if known[0] and known[0] != standing:
            self._say(f"{at}{server.id} is {standing}")
        if known[0] and known[1] != committed:
            self._say(f"{at}{server.id} commits {committed}")
        self._known[server.id] = (standing, committed)

    def _note(self, server: Server, happened: Happened) -> None:
        self._invariants.applied(server, happened.applied)
        if happened.applied:
            self._say(f"{server.id} applies {' '.join(map(words.of_entry, happened.applied))}")
        for read, index in happened.reads:
            self._say(f"{server.id} may answer read {read} at {index}")
        for work in happened.work:
            self._say(f"{server.id} is to {work}")
        for message in happened.sent:
            self._invariants.said(server, message)
            self._network.send(message)
            if self._show in ("all", "tokens"):
                lost = " (lost)" if self._network.loses(message) else ""
                self._say(words.of_message(message, tokens=self._show == "tokens") + lost)


def _ids(text: str) -> tuple[int, ...]:
    return tuple(int(one) for one in text.split(",") if one)


def _picker(picks: dict[str, str]) -> Callable[[Message], bool]:
    def fits(message: Message) -> bool:
        told = {"from_": str(message.source), "to_": str(message.to), "kind_": type(message).__name__}
        return all(told[key] == value for key, value in picks.items())

    return fits
