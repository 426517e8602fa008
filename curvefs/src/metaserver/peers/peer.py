"""What is known of one other metaserver. Touched on the event loop only."""

import asyncio
from dataclasses import dataclass, field

from .link import Link
from .outbox import Outbox


@dataclass(slots=True, eq=False)
class Peer:
    """Times are of the boot-time clock.

    address: where to dial it. told: the address given to know(), which a later hello may have corrected. noted_at: when
    it was last given to know(), or came itself. waiting_since: what waits without a stream was put after this. is_away:
    an attempt failed since the last stream, and was logged.
    """

    id: int
    address: str
    outbox: Outbox
    told: str = ""
    noted_at: float = 0.0
    link: Link | None = None
    heard_at: float | None = None
    connected_at: float | None = None
    waiting_since: float = 0.0
    is_away: bool = False
    clock_offset_ns: int | None = None
    keeper: asyncio.Task[None] | None = None
    unlinked: asyncio.Event = field(default_factory=asyncio.Event)
