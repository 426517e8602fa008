"""Clients of the servers of many groups, one per addresses in their order: so each remembers who leads its groups.

Bounded: the one that was used longest ago is closed, unless a call is under way on it.

Shared across awaits: the table; touched between awaits only.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from .asyncio_client import AsyncClient

CLIENTS_MAX = 2000


@dataclass(slots=True)
class _Entry:
    client: AsyncClient
    calls: int = 0  # under way


class ClientPool:
    """See the module."""

    def __init__(self) -> None:
        self._entries: OrderedDict[tuple[str, ...], _Entry] = OrderedDict()

    async def call(
        self, addresses: tuple[str, ...], stub: type[Any], method: str, request: Any, *, deadline_s: float, **how: Any
    ) -> Any:
        """Call the one of these addresses that leads; see AsyncClient.call()."""
        entry = self._entries.get(addresses)
        if entry is None:
            entry = self._entries[addresses] = _Entry(AsyncClient(addresses))
        self._entries.move_to_end(addresses)
        entry.calls += 1
        try:
            await self._close_some()
            return await entry.client.call(stub, method, request, deadline_s=deadline_s, **how)
        finally:
            entry.calls -= 1

    async def close(self) -> None:
        """Close all connections."""
        entries = list(self._entries.values())
        self._entries.clear()
        for entry in entries:
            await entry.client.close()

    async def _close_some(self) -> None:
        too_many = len(self._entries) - CLIENTS_MAX
        if too_many <= 0:
            return
        idle = [addresses for addresses, entry in self._entries.items() if not entry.calls]
        for entry in [self._entries.pop(addresses) for addresses in idle[:too_many]]:
            await entry.client.close()
