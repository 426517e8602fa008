"""Plays scripts until one fails: always the same for the same code, whose constants hypothesis draws, too."""

from hypothesis import HealthCheck, Phase, given, seed, settings

from curvefs.src.common.errors import CurveFSError

from .machine import Script, play, scripts

EXAMPLES = 600  # a planted fault is in one of 5 to 110


def first_failure(kinds: tuple[str, ...], only: tuple[str, ...] = (), first: int = 0) -> tuple[int, Exception | None]:
    """Return how many scripts were played, and what was wrong in the last; nothing is made shorter.

    only: steps that are drawn; first: which scripts.
    """
    played, found = 0, None

    @seed(first)
    @settings(
        max_examples=EXAMPLES,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(scripts(kinds=kinds, only=only))
    def look(script) -> None:
        nonlocal played, found
        if found is not None:
            return
        played += 1
        found = failure(script)

    look()
    return played, found


def failure(script: Script) -> Exception | None:
    """Play a script; returns what was wrong."""
    found = None
    try:
        play(script)
    except* (AssertionError, CurveFSError) as group:  # an error that nobody excused
        found = _first(group)
    return found


def _first(error: BaseException) -> Exception:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error
