"""Whether this metaserver's clock can be trusted to stamp entries (rule 19). Pure.

The metaservers decide by majority, this one included; where there are too few to have one, the clock of the MDS does.
So one wrong clock, of a metaserver or of the MDS, never keeps all from leading.
"""

from collections.abc import Sequence

OFFSET_NS_MAX = 2_000_000_000
_PEERS_MIN = 2


def is_off(mds_offset_ns: int, peer_offsets_ns: Sequence[int]) -> bool:
    """Return whether this clock is the wrong one, given how far the others are ahead of it."""
    if len(peer_offsets_ns) < _PEERS_MIN:
        return abs(mds_offset_ns) > OFFSET_NS_MAX
    agreeing = 1 + sum(abs(offset) <= OFFSET_NS_MAX for offset in peer_offsets_ns)
    return 2 * agreeing <= 1 + len(peer_offsets_ns)
