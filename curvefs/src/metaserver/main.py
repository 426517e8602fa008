"""``curvefs-metaserver``: one metaserver process.

Prints ``listening on HOST:PORT`` when it is ready; ends with 0 when asked to.
"""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import click
import uvloop

from ..common import logs, open_files
from ..common.clock import SystemClock
from ..common.errors import StartupError
from ..common.machine import boot_id
from ..process.config import load_config
from .config import MetaserverConfig
from .server import World, serve

# The log's thread waits for the interpreter after each sync: the default of 5 ms would be the latency of a busy server.
_SWITCH_INTERVAL_S = 0.0005


async def _run(config: MetaserverConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(config, World(SystemClock(), boot_id()), stop, _ready)


def _ready(address: str) -> None:
    sys.stdout.write(f"listening on {address}\n")
    sys.stdout.flush()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="A TOML file; flags override it.")
@click.option("--listen", help="HOST:PORT; port 0 chooses one and keeps it.")
@click.option("--session-port", type=int, help="Of the streams of mounts, at the same host; 0: any.")
@click.option("--data", type=click.Path(), help="The data folder, made if missing.")
@click.option("--mds", help="Addresses of the MDS: HOST:PORT/HOST:PORT.")
@click.option("--server", help="The server of the topology that this runs on; else the one with this address.")
@click.option("--key-dir", type=click.Path(), help="Keys of encrypted filesystems, in files by name.")
@click.option("--metrics-listen", help="HOST:PORT of the metrics page.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]))
@click.option("--log-json/--no-log-json", default=None, help="One JSON object a line.")
@click.option(
    "--set-damaged-log-aside",
    is_flag=True,
    default=None,
    help="If the log is damaged: move it and all groups to DATA/damaged-1, and start with replicas that serve nothing "
    "until 'curvefs-tool copyset rebuild --all --on THIS' has brought each back from its peers.",
)
@click.version_option(package_name="curvefs")
def main(config_file: Path | None, **flags: Any) -> None:
    """Serve the metadata of a CurveFS cluster: inodes, names and slice lists of the groups it holds."""
    try:
        config = load_config(MetaserverConfig, config_file, flags)
        logs.configure(json=config.log_json, level=config.log_level, program="curvefs-metaserver")
        open_files.raise_limit()
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(config))
    except StartupError as error:
        sys.stderr.write(f"curvefs-metaserver: {error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
