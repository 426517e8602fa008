"""Arguments that several commands about copysets have."""

from collections.abc import Callable
from typing import Any

import click

from ..cluster import print_json

CHANGE_TIMEOUT_S = 300.0
ID_MAX = (1 << 64) - 1  # of a copyset or a metaserver, as the protobufs hold it
ID = click.IntRange(1, ID_MAX)

group_argument = click.argument("group_id", metavar="ID", type=ID)
on_option = click.option("--on", "metaserver_id", metavar="METASERVER", type=ID, required=True, help="Whose replica.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def timeout_option_of(default_s: float, help_: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return --timeout, in seconds."""
    return click.option(
        "--timeout",
        "timeout_s",
        metavar="SECONDS",
        type=click.FloatRange(0, min_open=True),
        default=default_s,
        show_default=True,
        help=help_,
    )


timeout_option = timeout_option_of(CHANGE_TIMEOUT_S, "How long new peers may take to catch up.")


class PeerList(click.ParamType):  # type: ignore[type-arg]  # generic only in new releases
    """Ids of metaservers such as 1,2,4, each once."""

    name = "peers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        """Return the ids."""
        if isinstance(value, list):
            return value
        words = [word.strip() for word in value.split(",")]
        if not all(map(_is_id, words)) or len(set(map(int, words))) < len(words):
            self.fail(f"'{value}' is no list of metaservers such as 1,2,4", param, ctx)
        return [int(word) for word in words]


def _is_id(word: str) -> bool:
    return word.isdecimal() and len(word) <= len(str(ID_MAX)) and 1 <= int(word) <= ID_MAX


def metaserver_argument(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a metaserver's id as an argument."""
    return click.argument(name, metavar=name.upper(), type=ID)


def tell(said: dict[str, Any], line: str, *, json: bool) -> None:
    """Print what was done."""
    if json:
        print_json(said)
    else:
        click.echo(line)
