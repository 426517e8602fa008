"""What the MDS's heartbeats order: make or remove a replica here; change members, hand over or end sessions as leader.

Each may take long: a replica has to catch up, or to wait for the checkpoint of another one; a group may be without its
peers. Heartbeats must not wait for that. So each is a task of its own, at most one per group, and beside it one that
ends the group's sessions, one after the other: an order that is repeated meanwhile is not begun again. What was not
done in time is ordered again.

Shared across awaits: the tasks, at most two per group; the sessions to end.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from ...proto import heartbeat_pb2 as pb
from ..common.errors import CurveFSError
from .copyset.manager import CopysetManager
from .copyset.membership import Membership
from .service import end_session

_log = structlog.get_logger()
_CHANGE_S = 60.0
_TRANSFER_S = 10.0


class Orders:
    """Carries out orders. close() it."""

    def __init__(self, copysets: CopysetManager, membership: Membership) -> None:
        self._copysets = copysets
        self._membership = membership
        self._under_way: dict[tuple[int, bool], asyncio.Task[None]] = {}  # by group, and whether it ends sessions
        self._to_end: dict[int, dict[bytes, None]] = {}  # sessions by group, in the order in which they came

    def begin(self, order: pb.Order, me: int) -> None:
        """Begin to carry out an order, unless one for that group is under way. me: this metaserver's id."""
        ends = order.HasField("end_session")
        if ends:
            self._to_end.setdefault(order.group_id, {})[order.end_session.session_id] = None
        key = order.group_id, ends
        if key in self._under_way:
            return
        works: dict[str | None, Callable[[pb.Order], Awaitable[None]]] = {
            "create_copyset": lambda order: self._create(order, me),
            "remove_copyset": self._remove,
            "change_peers": self._change,
            "transfer_leader": self._transfer,
            "end_session": self._end_sessions,
        }
        work = works[order.WhichOneof("order")]
        task = asyncio.create_task(self._carry_out(order, work), name=f"order for group {order.group_id}")
        self._under_way[key] = task
        task.add_done_callback(lambda _: self._under_way.pop(key, None))

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _carry_out(self, order: pb.Order, work: Callable[[pb.Order], Awaitable[None]]) -> None:
        try:
            await work(order)
        except (CurveFSError, OSError) as error:
            # The MDS orders it again as long as the reports show that it is not done.
            what = order.WhichOneof("order")
            _log.warning("an order was not carried out", order=what, group=order.group_id, reason=str(error))
        except Exception:  # noqa: BLE001  # a bug must not go unnoticed, and must not end the others
            _log.exception("an order failed", group=order.group_id)

    async def _create(self, order: pb.Order, me: int) -> None:
        create = order.create_copyset
        first = create.first_metaserver_id == me
        await self._copysets.create(order.group_id, create.peers, first=first, term=create.term)

    async def _remove(self, order: pb.Order) -> None:
        """Remove a replica that its group goes on without, by a configuration that it may never have heard of."""
        index = order.configuration_index
        await self._copysets.remove(order.group_id, damaged=index > 0, made_for=index)

    async def _change(self, order: pb.Order) -> None:
        group = self._copysets.get(order.group_id)
        self._membership.check(group, order.configuration_index)
        await self._membership.change(group, list(order.change_peers.peers), _CHANGE_S)

    async def _end_sessions(self, order: pb.Order) -> None:
        to_end = self._to_end[order.group_id]
        try:
            while to_end:
                session_id = next(iter(to_end))
                await end_session(self._copysets, order.group_id, session_id)
                del to_end[session_id]
        finally:
            del self._to_end[order.group_id]  # where one cannot be ended, the others cannot either

    async def _transfer(self, order: pb.Order) -> None:
        group = self._copysets.get(order.group_id)
        self._membership.check(group, order.configuration_index)
        await self._membership.transfer(group, order.transfer_leader.metaserver_id, _TRANSFER_S)
