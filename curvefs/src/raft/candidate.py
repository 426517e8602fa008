"""A candidate: asks for votes (section 5.2), after it asked whether it would get them (pre-vote, thesis section 9.6).

A server that would lose raises no term, so one that was cut off disturbs nobody when it is back.
"""

from .configuration import Tally
from .messages import Vote, VoteReply
from .state import State


class Candidate:
    """One candidature. pre: it only asks. forced: the leader asked for it; voters need not wait for it to be silent."""

    def __init__(self, state: State, *, pre: bool, forced: bool) -> None:
        """Begin it: a real one enters the next term and votes for itself."""
        self._state = state
        self.pre = pre
        self._votes: dict[int, bool] = {}
        if not pre:
            state.enter_term(state.term + 1, vote=state.id)
        term = state.term + 1 if pre else state.term
        log = state.log
        for server in log.configuration.members:
            if server != state.id and log.configuration.is_voter(server):
                state.send(Vote(state.id, server, term, log.last_index, log.last_term, pre, forced))

    def count(self) -> Tally:
        """Count what has come in. A real candidature is not won before its own vote is durable.

        Not by the votes of others either: after a crash it would know nothing of its term, and could win it again, with
        other entries than those that it sent when it first led.
        """
        tally = self._state.log.configuration.tally({**self._votes, self._state.id: True})
        if tally is Tally.WON and not (self.pre or self._state.is_vote_durable):
            return Tally.OPEN
        return tally

    def on_reply(self, message: VoteReply) -> Tally:
        """Note a vote and count."""
        wanted = self._state.term + 1 if self.pre else self._state.term
        if message.pre == self.pre and (not message.granted or message.term == wanted):
            self._votes[message.source] = message.granted
        return self.count()
