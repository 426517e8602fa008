"""What the commands share: finding the cluster, calling it, printing, and ending with one line and an exit code."""

import contextlib
import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, ParamSpec

import click

from curvefs.src.client.daemon import one_line
from curvefs.src.common.addresses import parse_addresses
from curvefs.src.common.errors import CurveFSError, StartupError
from curvefs.src.common.exits import ExitCode
from curvefs.src.common.status import exit_code_of

from .settings import load_settings

P = ParamSpec("P")

CALL_DEADLINE_S = 10.0


def fail(error: CurveFSError) -> NoReturn:
    """End with the error's line and exit code."""
    sys.stderr.write(f"curvefs-tool: {one_line(error)}\n")
    sys.exit(exit_code_of(error))


def command(function: Callable[P, None]) -> Callable[P, None]:
    """Turn the project's errors into one line and an exit code; so words that are not UTF-8, where they must be.

    What the system refuses has failed; but for a pipe that nobody reads, see main.py.
    """

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except CurveFSError as error:
            fail(error)
        except UnicodeEncodeError as error:
            fail(StartupError(f"{error.object!r} is not UTF-8", ExitCode.USAGE))
        except BrokenPipeError:
            raise
        except OSError as error:
            _give_up_unprinted()
            fail(StartupError(_words_of(error), ExitCode.FAILED))

    return wrapped


def _words_of(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    return reason if error.filename is None else f"{error.filename!r}: {reason}"


def _give_up_unprinted() -> None:
    """Forget what standard output does not take: the interpreter tries again at its end, with words of its own."""
    if sys.stdout is None:  # it was closed before we began
        return
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError), Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


class _Folder(click.Path):
    """A folder; not '', which would be the current one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the Path."""
        if value == "":
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


FOLDER = _Folder(path_type=Path)


def cluster_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options by which a command finds its cluster, and --json."""
    for option in (
        click.option("--json", is_flag=True, help="Print JSON."),
        click.option("--data", type=FOLDER, help="The data folder of a cluster made by 'up'."),
        click.option("--mds", help="MDS addresses, H:P/H:P; else --data, else CURVEFS_MDS."),
    ):
        function = option(function)
    return function


def mds_addresses(mds: str | None, data: Path | None) -> list[str]:
    """Return the addresses of the MDS: --mds, else what 'up' wrote into the data folder, else CURVEFS_MDS.

    Raises StartupError (USAGE, DATA_FOLDER).
    """
    if mds is not None:
        return parse_addresses(mds)
    if data is None:
        said = os.environ.get("CURVEFS_MDS")
        if not said:
            raise StartupError("which cluster? --mds H:P/H:P, --data DIR or CURVEFS_MDS", ExitCode.USAGE)
        return parse_addresses(said)
    try:
        return load_settings(data).mds_addresses
    except (FileNotFoundError, KeyError) as error:
        raise StartupError(f"{data} is no data folder of a cluster", ExitCode.DATA_FOLDER) from error


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(value, indent=2))


def print_table(head: list[str], rows: list[list[str]]) -> None:
    """Print rows in columns."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
