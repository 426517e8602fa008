"""An order to remove a replica counts by the configuration it was made for."""

from types import SimpleNamespace

import pytest

from curvefs.proto import heartbeat_pb2 as pb
from curvefs.src.common.clock import SystemClock
from curvefs.src.metaserver.heartbeat import MdsLink
from curvefs.src.process.data_folder import DataFolder

pytestmark = pytest.mark.asyncio
GROUP = 3


class Groups:
    """One group whose replica is at a configuration; notes what is removed, and whether by force."""

    def __init__(self, configuration_index):
        log = SimpleNamespace(configuration_index=configuration_index)
        self._group = SimpleNamespace(group_id=GROUP, raft=SimpleNamespace(log=log))
        self.removed = []

    def all(self):
        return [self._group]

    async def remove(self, group_id, *, damaged=False):
        self.removed.append((group_id, damaged))


@pytest.mark.parametrize(
    ("ordered_for", "removed"),
    [
        (9, [(GROUP, True)]),  # it may still think that it votes
        (7, [(GROUP, False)]),
        (6, []),  # it has joined again meanwhile
        (0, [(GROUP, False)]),
    ],
)
async def test_a_replica_is_removed_by_what_its_group_decided_later(tmp_path, ordered_for, removed):
    folder, groups = DataFolder(tmp_path), Groups(7)
    try:
        link = MdsLink(
            None, folder, groups, None, None, clock=SystemClock(), peer_clocks=list, interval_ms=1, deadline_s=1.0
        )
        order = pb.Order(group_id=GROUP, configuration_index=ordered_for, remove_copyset=pb.RemoveCopysetOrder())
        await link._carry_out(pb.HeartbeatReply(orders=[order]))
    finally:
        folder.close()
    assert groups.removed == removed
