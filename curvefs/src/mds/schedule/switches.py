"""Which schedulers run: as configured, until somebody switches one; that is stored, and the next MDS keeps it.

Rapid leader is no lasting state: switched on, it runs once.
"""

from collections.abc import Mapping

import structlog

from ....proto import schedule_pb2 as pb
from ..state import State
from .controller import SWITCHES, Controller
from .operators import Scheduler

_log = structlog.get_logger()


class Switches:
    """The switches of a controller. configured: those of schedulers that the configuration speaks of."""

    def __init__(self, state: State, controller: Controller, configured: Mapping[Scheduler, bool]) -> None:
        self._state = state
        self._controller = controller
        for scheduler, on in configured.items():
            stored = state.switches.get(scheduler.value)
            controller.switch(scheduler, on=on if stored is None else stored)

    def all(self) -> list[pb.Switch]:
        """Return every switch."""
        return [pb.Switch(scheduler=one.name, enabled=self._controller.is_enabled(one)) for one in SWITCHES]

    async def set(self, which: pb.Scheduler, *, on: bool) -> None:
        """Have a scheduler run or not. Raises what State.change raises; then nothing has changed."""
        scheduler = Scheduler[pb.Scheduler.Name(which)]
        if scheduler is not Scheduler.RAPID_LEADER:
            name = scheduler.value
            await self._state.change(lambda change: change.put(self._state.switches, name, on))
        self._controller.switch(scheduler, on=on)
        _log.info("a scheduler was switched", scheduler=scheduler.value, on=on)
