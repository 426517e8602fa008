"""How much a cache folder may hold: its share of the size that was asked for, and what its disk has room for. Pure.

Both limits have hysteresis: once one is met, room is made down to 95 % of it, so that not every new block evicts.
"""

from dataclasses import dataclass

BLOCKS_MAX = 200_000  # of a mount: some 180 bytes of memory each, and as much again for those that left
_DOWN_TO = 0.95


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one folder: bytes and blocks kept, and the share of its disk that stays free."""

    size: int
    blocks: int
    free_space: float

    def surplus(self, kept: int, free: int, total: int) -> int:
        """Return how many bytes have to go, of so many kept, on a disk with so many free."""
        surplus = kept - int(self.size * _DOWN_TO) if kept > self.size else 0
        reserve = int(total * self.free_space)
        if free < reserve:
            surplus = max(surplus, int(reserve / _DOWN_TO) - free)
        return min(surplus, kept)

    def too_many(self, blocks: int) -> int:
        """Return how many blocks have to go."""
        return blocks - int(self.blocks * _DOWN_TO) if blocks > self.blocks else 0

    def has_room(self, free: int, total: int) -> bool:
        """Say whether anything may be added at all."""
        return free >= int(total * self.free_space)
