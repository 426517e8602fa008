"""What a leader goes on with by itself: entries that finish what others began (rule 14). Pure.

The state remembers what is unfinished; so nothing is lost when one is not proposed, or refused.
"""

from collections import deque

import structlog

from ....proto import state_pb2
from ...common.errors import CurveFSError
from ..metastore.applied import Applied
from .proposals import Complete, Proposal

_log = structlog.get_logger()
FOLLOW_UPS_MAX = 1000


class FollowUps:
    """Those that wait. is_incomplete: the state has more."""

    def __init__(self, group_id: int) -> None:
        self._group_id = group_id
        self._entries: deque[state_pb2.Entry] = deque()
        self.is_incomplete = False

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: state_pb2.Entry) -> None:
        """Queue one, if there is room."""
        if len(self._entries) >= FOLLOW_UPS_MAX:
            self.is_incomplete = True
        else:
            self._entries.append(entry)

    def begin(self, entries: list[state_pb2.Entry]) -> None:
        """Begin with what the state says."""
        self._entries.clear()
        self.is_incomplete = False
        for entry in entries:
            self.add(entry)

    def clear(self) -> None:
        """Another server goes on with them."""
        self._entries.clear()

    def take(self) -> Proposal:
        """Take one."""
        entry = self._entries.popleft()
        return Proposal(entry, 0, entry.ByteSize(), self._completion(entry))

    def _completion(self, entry: state_pb2.Entry) -> Complete:
        def complete(outcome: Applied | CurveFSError) -> None:
            if isinstance(outcome, CurveFSError):
                self.is_incomplete = True
            elif outcome.failure is not None and outcome.failure.code:
                _log.error("a follow-up failed", group=self._group_id, entry=entry.WhichOneof("command"))

        return complete
