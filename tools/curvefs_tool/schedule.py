"""``schedule``: what the MDS moves, and the switches of its schedulers."""

from pathlib import Path
from typing import Any

import click

from curvefs.proto import schedule_pb2, schedule_pb2_grpc
from curvefs.src.rpc.blocking import BlockingClient

from .cluster import cluster_options, command, mds_addresses, print_json, print_table
from .copyset.options import tell
from .filesystems import time_text

_STUB = schedule_pb2_grpc.ScheduleServiceStub
_NAMES = [name.lower() for name in schedule_pb2.Scheduler.keys() if name != "PERSON"]  # noqa: SIM118 -- no mapping
_HEAD = ["COPYSET", "SCHEDULER", "STEP", "FROM", "TO", "SINCE", "END"]


@click.group()
def schedule() -> None:
    """Look at what the schedulers move, and switch them on and off."""


@schedule.command("list")
@cluster_options
@command
def list_schedule(*, mds: str | None, data: Path | None, json: bool) -> None:
    """Show the switches, the operators that run, and the last that ended."""
    client = BlockingClient(mds_addresses(mds, data))
    reply = client.call(_STUB, "GetSchedule", schedule_pb2.GetScheduleRequest())
    said: dict[str, Any] = {
        "switches": {_name(one.scheduler): one.enabled for one in reply.switches},
        "running": [_shown(one) for one in reply.running],
        "ended": [_shown(one) for one in reply.ended],
    }
    if json:
        print_json(said)
        return
    for name, on in said["switches"].items():
        click.echo(f"{name}: {'on' if on else 'off'}")
    rows = [_row(one) for one in [*said["running"], *reversed(said["ended"])]]
    if rows:
        click.echo()
        print_table(_HEAD, rows)


@schedule.command("on")
@click.argument("scheduler", type=click.Choice(_NAMES))
@cluster_options
@command
def on(scheduler: str, *, mds: str | None, data: Path | None, json: bool) -> None:
    """Have SCHEDULER run; rapid_leader runs once. Every MDS that leads later keeps it so."""
    _switch(BlockingClient(mds_addresses(mds, data)), scheduler, enabled=True, json=json)


@schedule.command("off")
@click.argument("scheduler", type=click.Choice(_NAMES))
@cluster_options
@command
def off(scheduler: str, *, mds: str | None, data: Path | None, json: bool) -> None:
    """Have SCHEDULER begin nothing more; what it began goes on."""
    _switch(BlockingClient(mds_addresses(mds, data)), scheduler, enabled=False, json=json)


def _switch(client: BlockingClient, name: str, *, enabled: bool, json: bool) -> None:
    request = schedule_pb2.SetSchedulerRequest(scheduler=name.upper(), enabled=enabled)
    client.call(_STUB, "SetScheduler", request)
    tell({"scheduler": name, "enabled": enabled}, f"{name} is {'on' if enabled else 'off'}", json=json)


def _name(scheduler: schedule_pb2.Scheduler) -> str:
    return schedule_pb2.Scheduler.Name(scheduler).lower()


def _shown(one: schedule_pb2.Operator) -> dict[str, Any]:
    times = {"started": one.started_ns, "deadline": one.deadline_ns, "ended": one.ended_ns}
    return {
        "copyset": one.group_id,
        "scheduler": _name(one.scheduler),
        "step": one.step,
        "from": one.source,
        "to": one.target,
        "configuration_index": one.configuration_index,
        **{name: time_text(when) for name, when in times.items() if when},
        "end": one.end,
    }


def _row(one: dict[str, Any]) -> list[str]:
    places = [str(one[key] or "") for key in ("from", "to")]
    since = one.get("started", one.get("ended", ""))
    return [str(one["copyset"]), one["scheduler"], one["step"], *places, since, one["end"] or "runs"]
