"""A candidate: asks for votes (section 5.2), after it asked whether it would get them (pre-vote, thesis section 9.6).

A server that would lose raises no term, so one that was cut off disturbs nobody when it is back.

Nobody is asked for a vote before the own vote and its term are durable, and neither is the candidature won before:
else a server that forgets them with a crash could stand for the same term again, and be elected by votes for what its
log was, or be elected twice.
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
        say = state.send if pre else state.send_when_durable
        for server in log.configuration.members:
            if server != state.id and log.configuration.is_voter(server):
                say(Vote(state.id, server, term, log.last_index, log.last_term, pre, forced))

    def count(self) -> Tally:
        """Count what has come in; a real candidature is not won before its own vote is durable."""
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
