"""Whatever is written, cut, compacted, lost and found again: reads are right, and nothing stays for ever."""

import pytest
from hypothesis import HealthCheck, given, settings

from .machine import KINDS, play, scripts

EXAMPLES = 100  # of each kind of mounts, always the same; `make model` plays more, and others

FAILED_ONCE = [
    # Ids went on being taken of a range that the metaserver had closed.
    (
        0.01,
        [
            ("append", 0, 1),
            ("write", 1, 0, 0, 1024),
            ("drop_caches", 0),
            ("wait", 1),
            ("append", 0, 1),
            ("flood", 1),
            ("write", 0, 0, 0, 1),
        ],
    ),
    # A truncate that was done and not answered, or done later: what it should have cut was published after it.
    *(
        (
            0.01,
            [
                ("write", 0, 0, 0, 62),
                ("write", 1, 0, 500, 1),
                ("metadata_fails", 1, "set_attr", how),
                ("truncate", 1, 0, 0),
                ("read_all", 1, 0),
                ("write", 1, 0, 40, 9),
                ("fsync", 1, 0),
                ("read_all", 0, 0),
            ],
        )
        for how in ("late", "applied", "before")
    ),
    # An append was in lists that came while it was being published, and where it was assumed to lie.
    (
        0.01,
        [
            ("session_ends", 1),
            ("append", 0, 1),
            ("append", 1, 1),
            ("write", 0, 0, 0, 1),
            ("wait", 6000),
            ("publish", 0, 0),
            ("write", 0, 0, 0, 1),
            ("read_log", 1),
        ],
    ),
]


@pytest.mark.parametrize("kind", KINDS)
def test_mounts_metadata_and_background_work_behave_as_plain_bytes(kind):
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(scripts(kinds=(kind,)))
    def behaves(script):
        play(script)

    behaves()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("seconds", "steps"), FAILED_ONCE)
def test_scripts_that_failed_once(kind, seconds, steps):
    play((kind, seconds, steps))
