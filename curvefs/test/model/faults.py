"""What goes wrong when, and whether that excuses an error that a caller gets.

Everything is planned by the script: a fault strikes the next call that it fits. ``hits`` counts what struck a mount, so
that an error without any is found. While ``quiet``, nothing strikes: then reads tell what there is.
"""

from contextlib import contextmanager
from dataclasses import dataclass, field

from curvefs.src.object.fault import Fault, FaultStore
from curvefs.src.object.protocol import StoreFull, StoreUnavailable

MUTATIONS = ("append_slices", "set_attr", "allocate_ids")
READS = ("get_slices", "get_attr")
# How a call of the metadata fails. late: what was sent is applied before the next call of the lane.
HOW = ("before", "applied", "late", "ended", "applied and ended")


@dataclass(slots=True)
class Planned:
    """For the next call of a kind."""

    kind: str
    how: str


@dataclass(slots=True)
class Faults:
    """Of one mount."""

    planned: list[Planned] = field(default_factory=list)
    hits: int = 0
    quiet: bool = False

    def plan(self, kind: str, how: str) -> None:
        self.planned.append(Planned(kind, how))

    def next(self, kind: str) -> str | None:
        """Return how a call that is made now fails, if it does."""
        found = next((one for one in self.planned if one.kind == kind), None)
        if found is None or self.quiet:
            return None
        self.planned.remove(found)
        self.hits += 1
        return found.how

    def hit(self) -> None:
        self.hits += 1


class Store(FaultStore):
    """A store that one mount, or the worker, sees. Its faults count as hits, and are passed by while all is quiet."""

    def __init__(self, inner, faults: Faults) -> None:
        super().__init__(inner)
        self._of = faults

    def _begin(self, operation, keys):
        if self._of.quiet:
            return None
        try:
            fault = super()._begin(operation, keys)
        except Exception:
            self._of.hit()
            raise
        if fault is not None:
            self._of.hit()
        return fault


def damaged(data: bytes) -> bytes:
    """Return other bytes, of the same number."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x40]) + data[middle + 1 :] if data else data


STORE_FAULTS = {
    "503": lambda operation: Fault(operation, error=lambda: StoreUnavailable("injected: 503")),
    "full": lambda operation: Fault(operation, error=lambda: StoreFull("injected: full")),
    "lost reply": lambda operation: Fault(
        operation, lost_reply=True, error=lambda: StoreUnavailable("injected: no answer")
    ),
    "damaged": lambda _: Fault("get", damage=damaged),
}


@contextmanager
def quiet(*all_: Faults):
    """Let nothing go wrong meanwhile."""
    before = [one.quiet for one in all_]
    for one in all_:
        one.quiet = True
    try:
        yield
    finally:
        for one, was in zip(all_, before, strict=True):
            one.quiet = was
