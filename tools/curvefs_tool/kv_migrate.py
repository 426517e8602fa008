"""``kv-migrate``: moves the state of an MDS from its own folder into etcd, so that there can be several.

Of a cluster made by `up` it makes the etcd too and keeps in cluster.json that it is used from now on: that write
decides. Until then the state in the folder counts, and what is in etcd is made anew by the next attempt.
"""

import asyncio
import os
import shutil
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from curvefs.src.common.clock import SystemClock
from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode
from curvefs.src.mds.config import MdsConfig
from curvefs.src.mds.etcd_options import etcd_options
from curvefs.src.mds.migration import copy_state, retire_store
from curvefs.src.mds.storage.opening import open_store
from curvefs.src.process.config import load_config
from curvefs.src.process.data_folder import MDS, DataFolder

from .children import Child, Ended, Stage
from .cluster import FOLDER, command
from .servers import Programs, plan_etcd, store_of
from .settings import Settings, check_settings, load_settings, save_settings
from .shutdown import KernelMounts, Outside, stop_leftovers
from .state import ClusterState, lock

_LOOK_S = 0.05


@click.command("kv-migrate")
@click.argument("data", type=FOLDER)
@click.option("--etcd", type=click.IntRange(1, 7), help="Members of the new etcd, of a cluster made by 'up'.")
@click.option("--mds", type=click.IntRange(1, 7), help="How many MDS it has from now on.  [default: 1]")
@click.option("--store", help="HOST:PORT,HOST:PORT of an etcd that runs; DATA is the folder of an MDS then.")
@etcd_options
@command
def kv_migrate(data: Path, *, etcd: int | None, mds: int | None, store: str | None, **flags: Any) -> None:
    """Move the state of an MDS from its folder into etcd. The cluster must be stopped.

    Either DATA was made by 'up', and --etcd says how many members of a new etcd there shall be, or DATA is the folder
    of an MDS, and --store says where its etcd is.
    """
    data = Path(os.path.realpath(data))
    if (etcd is None) is (store is None):
        raise StartupError("say either --etcd, or --store", ExitCode.USAGE)
    if etcd is not None:
        if said := [name for name, value in flags.items() if value is not None]:
            raise StartupError(f"--{said[0].replace('_', '-')} goes with --store", ExitCode.USAGE)
        click.echo(_move_cluster(data, etcd, mds or 1))
        return
    if mds is not None:
        raise StartupError("--mds goes with --etcd", ExitCode.USAGE)
    if not (data / "kv").is_dir():
        raise StartupError(f"{data} is no folder of an MDS that keeps its state in it", ExitCode.DATA_FOLDER)
    target = load_config(MdsConfig, None, {"data": data, "store": store} | flags)
    click.echo(asyncio.run(_move(data, target, lambda: None)))


def _embedded(folder: Path) -> MdsConfig:
    return load_config(MdsConfig, None, {"data": folder})


async def _move(folder: Path, target: MdsConfig, decide: Callable[[], None]) -> str:
    """Move the state in an MDS's folder to where a configuration says. decide: called when everything is there."""
    clock = SystemClock()
    held = DataFolder(folder, MDS)
    async with AsyncExitStack() as stack:
        stack.callback(held.close)
        source = await stack.enter_async_context(open_store(_embedded(folder), folder, clock))
        new = await stack.enter_async_context(open_store(target, folder, clock))
        count = await copy_state(source, new)
        decide()
        await retire_store(source, target.store)
    return f"{count} keys were moved to {target.store}; start the MDS with --store {target.store}"


def _move_cluster(data: Path, etcd: int, mds: int) -> str:
    """Move the state of a cluster made by `up`, and have it use that from now on. Raises StartupError."""
    try:
        settings = load_settings(data)
    except FileNotFoundError as error:
        raise StartupError(f"{data} is no data folder of a cluster", ExitCode.DATA_FOLDER) from error
    new = replace(settings, etcd=etcd, mds=mds, ports=dict(settings.ports))
    check_settings(new)
    with ExitStack() as stack:
        stack.callback(os.close, lock(data))
        state = ClusterState.load(data)
        left = state.processes | state.starting
        if any(one.running and not name.startswith("etcd-") for name, one in left.items()):
            raise StartupError(f"the cluster runs; curvefs-tool down {data} stops it", ExitCode.BUSY)
        stop_leftovers(Outside(KernelMounts()), data)  # an etcd of an attempt that was killed
        if not settings.etcd:
            _fill_etcd(data, new, stack)
        elif (settings.etcd, settings.mds) != (etcd, mds):
            raise StartupError(
                f"{data} has {settings.etcd} members of etcd and {settings.mds} MDS already", ExitCode.DATA_FOLDER
            )
        else:
            asyncio.run(_retire(data / "mds", settings))
    return f"the state of the MDS is in etcd now; curvefs-tool up {data} goes on with {etcd} members and {mds} MDS"


def _fill_etcd(data: Path, new: Settings, stack: ExitStack) -> None:
    for name in new.etcd_names:
        shutil.rmtree(data / name, ignore_errors=True)
    new.add_ports()
    members = plan_etcd(data, new, Programs())
    stack.callback(_stop, members, data)
    _start(members, data)
    target = load_config(MdsConfig, None, {"data": data / "mds"} | store_of(data, new))
    asyncio.run(_move(data / "mds", target, lambda: save_settings(data, new)))


async def _retire(folder: Path, settings: Settings) -> None:
    """Say once more in the old store that it is not used: the attempt that decided may have been killed before."""
    held = DataFolder(folder, MDS)
    try:
        async with open_store(_embedded(folder), folder, SystemClock()) as source:
            await retire_store(source, ",".join(settings.etcd_endpoints))
    finally:
        held.close()


def _start(members: list[Child], data: Path) -> None:
    """Start etcd and wait until it serves. Raises StartupError."""
    state = ClusterState(data)
    for member in members:
        member.start(time.monotonic())
        state.starting[member.name] = member.record()
        state.save()
    while any(member.stage is not Stage.RUNNING for member in members):
        for member in members:
            if isinstance(found := member.look(time.monotonic()), Ended):
                raise found.error
        time.sleep(_LOOK_S)


def _stop(members: list[Child], data: Path) -> None:
    for member in reversed(members):
        member.stop()
    ClusterState(data).save()
