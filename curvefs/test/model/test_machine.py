"""Whatever is written, cut, compacted, lost and found again: reads are right, and nothing stays for ever."""

import pytest
from hypothesis import HealthCheck, given, settings

from .machine import KINDS, play, scripts

EXAMPLES = 150  # of each kind of mounts; `make model` plays more


@pytest.mark.parametrize("kind", KINDS)
def test_mounts_metadata_and_background_work_behave_as_plain_bytes(kind):
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(scripts(kinds=(kind,)))
    def behaves(script):
        play(script)

    behaves()
