"""What waits to become entries of a group's log, and who waits for entries to be applied. Pure.

A proposal that never entered the log was surely not applied, and is told so. One that is in the log of a leader that
has lost its place may or may not be applied; who asked must ask again.

Bounds: QUEUE_OPERATIONS_MAX and QUEUE_BYTES_MAX for what waits; what is in the log is bounded by the group.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ....proto import state_pb2
from ...common.errors import CurveFSError, Overloaded, Unavailable
from ...common.status import failure_of
from ..metastore.applied import Applied

QUEUE_OPERATIONS_MAX = 8192
QUEUE_BYTES_MAX = 64 << 20
WRITE_OPERATIONS_MAX = 512  # of one group in one write; bounds a step of the event loop
WRITE_BYTES_MAX = 8 << 20
_RETRY_AFTER_MS = 50

# Called once: what the entry led to, or why it never entered the log.
Complete = Callable[[Applied | CurveFSError], None]


@dataclass(frozen=True, slots=True)
class Proposal:
    """One entry to be. operations: of clients, 0 for other entries."""

    entry: state_pb2.Entry
    operations: int
    size: int
    complete: Complete


class Proposals:
    """Those that wait, in order, and those in the log, by index."""

    def __init__(self) -> None:
        self._queue: deque[Proposal] = deque()
        self._operations = 0
        self._size_bytes = 0
        self._logged: deque[tuple[int, int, Proposal]] = deque()  # index, term

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def idle(self) -> bool:
        """True when nobody waits for an answer."""
        return not (self._queue or self._logged)

    def add(self, proposal: Proposal) -> None:
        """Queue a proposal. Raises Overloaded."""
        weight = max(1, proposal.operations)
        if self._queue and (
            self._operations + weight > QUEUE_OPERATIONS_MAX or self._size_bytes + proposal.size > QUEUE_BYTES_MAX
        ):
            raise Overloaded("too much waits for the log", retry_after_ms=_RETRY_AFTER_MS)
        self._queue.append(proposal)
        self._operations += weight
        self._size_bytes += proposal.size

    def take(self) -> list[Proposal]:
        """Take what goes into the next write."""
        taken: list[Proposal] = []
        operations = size = 0
        while self._queue and operations < WRITE_OPERATIONS_MAX and size < WRITE_BYTES_MAX:
            proposal = self._queue.popleft()
            weight = max(1, proposal.operations)
            operations += weight
            size += proposal.size
            taken.append(proposal)
        self._operations -= operations
        self._size_bytes -= size
        return taken

    def logged(self, first: int, term: int, proposals: list[Proposal]) -> None:
        """Note that proposals have become entries from ``first`` on."""
        self._logged.extend((index, term, proposal) for index, proposal in enumerate(proposals, first))

    def applied(self, index: int, term: int) -> Proposal | None:
        """Return who waits for an entry. Call it for every entry, in order."""
        while self._logged and self._logged[0][0] <= index:
            at, of_term, proposal = self._logged.popleft()
            if (at, of_term) == (index, term):
                return proposal
            proposal.complete(Applied(failure=failure_of(Unavailable("another leader's entry took its place"))))
        return None

    def dropped(self, last_index: int, error: CurveFSError) -> None:
        """Entries behind ``last_index`` were taken out of the log again: they surely never happen."""
        while self._logged and self._logged[-1][0] > last_index:
            self._logged.pop()[2].complete(error)

    def refuse(self, error: CurveFSError) -> None:
        """Tell everybody who waits for the log that it is in vain."""
        queue, self._queue = self._queue, deque()
        self._operations = self._size_bytes = 0
        for proposal in queue:
            proposal.complete(error)

    def give_up(self, error: CurveFSError) -> None:
        """Tell everybody: who is in the log may or may not be applied."""
        logged, self._logged = self._logged, deque()
        for _, _, proposal in logged:
            proposal.complete(Applied(failure=failure_of(error)))
        self.refuse(error)
