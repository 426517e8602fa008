"""Intervals, deadlines and sizes of the streams between metaservers."""

from dataclasses import dataclass

from ...rpc.asyncio_peers import FRAME_SIZE_MAX


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """See each. Defaults fit an election timeout of a second or more."""

    # An empty frame when nothing was sent for so long: 0.1 to 0.3 of the election timeout.
    alive_interval_s: float = 0.2
    # Nothing was heard for so long, although alive frames are due: the link is cut. Far longer than a frame takes.
    silence_s: float = 2.0
    connect_deadline_s: float = 5.0
    hello_deadline_s: float = 5.0
    # A hello is said again after so long, so that the difference of the clocks is known as it is now (rule 19).
    hello_interval_s: float = 10.0
    # While there is no stream, messages wait for the next one so long; older ones would tell of a time gone by.
    linger_s: float = 1.0
    backoff_first_s: float = 0.05
    backoff_max_s: float = 1.0
    # A peer with a lower id opens the stream; when it has not for so long, it may not know where we are (peers.py).
    knock_delay_s: float = 0.5
    # Who is in no group here, and was neither named nor heard for so long, is dialled no more. Far longer than it takes
    # from naming who joins a group until the group has it.
    forget_after_s: float = 300.0
    frame_size: int = 4 << 20
    frame_size_max: int = FRAME_SIZE_MAX
    buffer_size: int = 64 << 20
    # The same line is logged once in so long.
    log_interval_s: float = 10.0

    def __post_init__(self) -> None:
        assert 0 < self.alive_interval_s < self.silence_s, "silence is the absence of alive frames"
        assert self.frame_size <= self.frame_size_max <= FRAME_SIZE_MAX, "what is sent can be received"
