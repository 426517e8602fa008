"""The invariants of raft, one function each, looked at after every step of a server (figure 3 of the paper).

They are told only what is new, so that they cost little: a role that changed, entries that are about to be written, a
commit index that rose, entries that were applied.

    election safety        at most one leader a term
    leader append-only     a leader never replaces or drops an entry of its log
    log matching           an entry's index and term determine it, and the term of the entry before it
    leader completeness    what is committed is in the log of every leader of a later term
    state-machine safety   no two servers apply different entries at an index, or get different states from them
    committed stays        a committed entry is never another one
    committed is durable   a majority (of each half) has a committed entry on disk when the leader counts it
    answers are true       what a client was told happened is in what every later read sees
"""


class Violation(BaseException):
    """An invariant does not hold. No Exception, so that the code under test does not handle it."""

    def __init__(self, invariant, what):
        super().__init__(f"{invariant}: {what}")
        self.invariant = invariant


class Checkers:
    """What is known of all servers of one run."""

    def __init__(self):
        self.leaders = {}  # term -> (server, its incarnation)
        self.entries = {}  # (index, term) -> (term of the one before, payload)
        self.only_on = {}  # (index, term) -> the only server that ever wrote it
        self.committed = {}  # index -> (term, kind, data)
        self.committed_in = {}  # index -> the term in which a leader committed it
        self.commit_index = 0
        self.states = {}  # applied index -> digest of the state
        self.answered_index = 0  # of the last entry whose outcome a client knows

    def election_safety(self, term, server, incarnation):
        """A server leads in a term."""
        other = self.leaders.setdefault(term, (server, incarnation))
        if other != (server, incarnation):
            raise Violation("election safety", f"{other} and {(server, incarnation)} lead in term {term}")

    def leader_append_only(self, server, log, last_index, last_term):
        """A leader's log ended with this entry when it was looked at before."""
        if last_index > log.base.index and log.term_of(last_index) != last_term:
            raise Violation(
                "leader append-only", f"server {server} led with entry {last_index} of term {last_term}, and it is gone"
            )

    def log_matching(self, server, previous_term, records):
        """A server writes records of entries, behind one of this term."""
        known = self.entries
        for entry in records:
            said = (previous_term, entry.payload)
            key = (entry.index, entry.term)
            if known.setdefault(key, said) != said:
                raise Violation("log matching", f"server {server} has another entry {entry.index} of term {entry.term}")
            if self.only_on.setdefault(key, server) != server:
                self.only_on[key] = 0
            previous_term = entry.term

    def dropped(self, server, term, last_index):
        """A server that is alone takes back entries that were never durable; if others have them they still count."""
        for key in [key for key, holder in self.only_on.items() if holder == server and key[1] == term]:
            if key[0] > last_index:
                del self.only_on[key], self.entries[key]

    def committed_stays(self, server, term, log, before, after):
        """A server in a term knows entries behind ``before`` up to ``after`` to be committed."""
        committed = self.committed
        for entry in log._entries[max(0, before - log.base.index) : after - log.base.index]:
            said = (entry.term, entry.kind, entry.data)
            if committed.setdefault(entry.index, said) != said:
                raise Violation(
                    "committed stays",
                    f"server {server} commits entry {entry.index} of term {entry.term}, "
                    f"and one of term {committed[entry.index][0]} was",
                )
            self.committed_in.setdefault(entry.index, term)
        self.commit_index = max(self.commit_index, after)

    def committed_is_durable(self, configuration, index, servers):
        """A leader counts an entry of this index as committed. servers: by id, each knows what it has on disk."""
        term = self.committed[index][0]
        for half in (configuration.voters, configuration.outgoing):
            have = [id_ for id_ in half if servers[id_].has_on_disk(index, term)]
            if half and len(have) <= len(half) // 2:
                raise Violation("committed is durable", f"entry {index} is on disk at {have} of {half} only")

    def leader_completeness(self, server, log, term):
        """A server leads in a term."""
        for index in range(log.base.index + 1, self.commit_index + 1):
            of_term = self.committed[index][0]
            if self.committed_in[index] < term and log.term_of(index) != of_term:
                raise Violation(
                    "leader completeness",
                    f"server {server} leads in term {term} without the committed entry {index} of term {of_term}",
                )

    def applied(self, server, index, term, digest):
        """A server has applied an entry of this index and term, and all before it; this is its state's digest."""
        known = self.committed.get(index)
        if known is None or known[0] != term:
            raise Violation(
                "state-machine safety",
                f"server {server} applies entry {index} of term {term}, and committed is {known and known[0]}",
            )
        self.same_state(server, index, digest)

    def same_state(self, server, index, digest):
        """A server's state at an index has this digest."""
        if self.states.setdefault(index, digest) != digest:
            raise Violation("state-machine safety", f"server {server} has another state at {index} than others had")

    def read_is_fresh(self, client, asked_at_index, read_at_index):
        """A read that began when answers up to one index were known was answered from a state."""
        if read_at_index < asked_at_index:
            raise Violation(
                "answers are true",
                f"client {client} was answered from the state at {read_at_index}; {asked_at_index} was known",
            )
