"""How long to wait before the next try: growing, with jitter, so that many clients do not come back at once. Pure."""

from collections.abc import Callable

# Random numbers in [0, 1).
Random = Callable[[], float]

PAUSE_S_FIRST = 0.02
PAUSE_S_MAX = 0.5


def pause_s(failures: int, random: Random, *, first_s: float = PAUSE_S_FIRST, max_s: float = PAUSE_S_MAX) -> float:
    """Return the pause after so many failures in a row: evenly between ``first_s`` and that times 2 ** failures."""
    longest_s = min(max_s, first_s * 2.0 ** min(failures, 30))
    return first_s + (longest_s - first_s) * random()
