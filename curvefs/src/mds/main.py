"""``curvefs-mds``: one MDS process. Prints ``listening on HOST:PORT`` when it is ready; ends with 0 when asked to."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import click

from ..common import logs, open_files
from ..common.clock import SystemClock
from ..common.errors import StartupError
from ..object.check import check_store
from ..object.url import open_store
from ..process.config import load_config
from .config import MdsConfig
from .etcd_options import etcd_options
from .server import World
from .terms import serve


async def _run(config: MdsConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(config, World(SystemClock(), open_store, check_store), stop, _ready)


def _ready(address: str) -> None:
    sys.stdout.write(f"listening on {address}\n")
    sys.stdout.flush()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="A TOML file; flags override it.")
@click.option("--listen", help="HOST:PORT; port 0 chooses one and keeps it.")
@click.option("--data", type=click.Path(), help="The data folder, made if missing.")
@click.option("--metrics-listen", help="HOST:PORT of the metrics page.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]))
@click.option("--log-json/--no-log-json", default=None, help="One JSON object a line.")
@click.option(
    "--recover",
    is_flag=True,
    default=None,
    help="The store was restored from a copy: make and remove nothing until every metaserver has said what it has.",
)
@click.option("--store", help="'lmdb' (in the data folder), or etcd: HOST:PORT,HOST:PORT.  [default: lmdb]")
@click.option("--lease-s", type=int, help="Seconds after which another MDS takes over from one that died.")
@etcd_options
@click.version_option(package_name="curvefs")
def main(config_file: Path | None, **flags: Any) -> None:
    """Serve filesystems, sessions and topology of a CurveFS cluster."""
    try:
        config = load_config(MdsConfig, config_file, flags)
        logs.configure(json=config.log_json, level=config.log_level, program="curvefs-mds")
        open_files.raise_limit()
        asyncio.run(_run(config))
    except StartupError as error:
        sys.stderr.write(f"curvefs-mds: {error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
