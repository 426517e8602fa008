"""What must hold between servers at every moment (figure 3 of the paper), one function each, and in one object.

Of what was committed it remembers all, so that it also sees what every server has forgotten.
"""

from collections.abc import Iterable
from itertools import pairwise

from curvefs.src.raft import messages as m
from curvefs.src.raft.messages import Entry, Message

from .servers import Server


class Invariants:
    """Looks at the servers after every step."""

    def __init__(self) -> None:
        self._leaders: dict[int, int] = {}
        self._committed: dict[int, Entry] = {}

    def look(self, servers: Iterable[Server], now: float) -> None:
        up = [server for server in servers if server.is_up]
        for server in up:
            self._election_safety(server)
            self._state_machine_safety(server)
        for server in up:
            self._leader_completeness(server)
        for one, other in pairwise(up):
            log_matching(one, other)
        leases_are_exclusive(up, now)

    def said(self, server: Server, message: Message) -> None:
        """A promise leaves: what it promises must be on disk. One of a term that is over binds nobody any more."""
        disk = server.disk
        kept = disk.hard_state
        match message:
            case m.VoteReply(pre=False, granted=True) if kept.term <= message.term:
                assert (kept.term, kept.vote) == (message.term, message.to), "the vote is on disk"
            case m.AppendReply(rejected=False) if kept.term <= message.term:
                assert kept.term == message.term, "the term is on disk"
                assert disk.last_index >= message.index, "the entries are on disk"

    def applied(self, server: Server, entries: Iterable[Entry]) -> None:
        for entry in entries:
            assert self._committed.setdefault(entry.index, entry) == entry, "all apply the same"
            assert server.disk.last_index >= entry.index, "applied, and in its own log (rule 24)"

    def _election_safety(self, server: Server) -> None:
        raft = server.raft
        if raft.is_leader:
            assert self._leaders.setdefault(raft.term, server.id) == server.id, "one leader a term"

    def _state_machine_safety(self, server: Server) -> None:
        log = server.raft.log
        for entry in entries_of(server):
            if entry.index <= log.committed:
                assert self._committed.setdefault(entry.index, entry) == entry, "one entry committed at an index"

    def _leader_completeness(self, server: Server) -> None:
        raft = server.raft
        if not raft.is_leader or any(raft.term < term for term in self._leaders):
            return
        own = {entry.index: entry for entry in entries_of(server)}
        for index, entry in self._committed.items():
            assert index <= raft.log.base.index or own.get(index) == entry, "a leader has all that was committed"


def entries_of(server: Server) -> tuple[Entry, ...]:
    log = server.raft.log
    return log.entries(log.base.index + 1, 1 << 30)


def log_matching(one: Server, other: Server) -> None:
    """Once two logs agree at an index they agree at all before."""
    mine = {entry.index: entry for entry in entries_of(one)}
    both = [(mine[entry.index], entry) for entry in entries_of(other) if entry.index in mine]
    agree = [a.term == b.term for a, b in both]
    last = max((i for i, same in enumerate(agree) if same), default=-1)
    assert all(a == b for a, b in both[: last + 1]), "logs that agree at an index agree before"


def leases_are_exclusive(servers: list[Server], now: float) -> None:
    """While a server holds its lease nobody leads a later term."""
    for holder in servers:
        if holder.raft.holds_lease(now):
            later = [one.id for one in servers if one.raft.is_leader and one.raft.term > holder.raft.term]
            assert not later, f"{holder.id} holds a lease, {later} lead"
