"""References as other groups ask for them: answered where the chunk ids have their home (metastore/references.py)."""

from ....proto import state_pb2
from ....proto import transaction_pb2 as pb
from ..calls import check
from ..copyset import awaiting
from ..copyset.manager import CopysetManager
from ..metastore.applied import Applied

ENTRY_DEADLINE_S = 5.0


class Home:
    """Answers calls to groups that this metaserver leads."""

    def __init__(self, copysets: CopysetManager) -> None:
        self._copysets = copysets

    async def release(self, request: pb.ReleaseRequest) -> pb.ReleaseReply:
        """Give up references; done when it is in the group's log. Idempotent. Raises CurveFSError."""
        command = state_pb2.ReleaseCommand(fs_id=request.fs_id, slices=request.slices)
        await self._run(request.group_id, state_pb2.Entry(format=1, release=command))
        return pb.ReleaseReply()

    async def add_reference(self, request: pb.AddReferenceRequest) -> pb.AddReferenceReply:
        """Add a reference and return its number; idempotent by the token. Raises CurveFSError."""
        command = state_pb2.AddReferenceCommand(
            fs_id=request.fs_id,
            chunk_id=request.chunk_id,
            token=request.token,
            holder=request.holder,
            chunk_index=request.chunk_index,
        )
        applied = await self._run(request.group_id, state_pb2.Entry(format=1, add_reference=command))
        return pb.AddReferenceReply(reference=applied.reference)

    async def _run(self, group_id: int, entry: state_pb2.Entry) -> Applied:
        applied = await awaiting.run(self._copysets.get(group_id), entry, ENTRY_DEADLINE_S)
        check(applied)
        return applied
