"""The command line: lists the commands, each from its own file."""

from typing import ClassVar

import click

from .lazy import LazyGroup


class _Commands(LazyGroup):
    places: ClassVar[dict[str, str]] = {
        "up": "up:up",
        "down": "down:down",
        "status": "status:status",
        "create-fs": "create_fs:create_fs",
        "list-fs": "list_fs:list_fs",
        "query-fs": "query_fs:query_fs",
        "delete-fs": "delete_fs:delete_fs",
        "copyset": "copyset.commands:copyset",
        "quota": "quota.commands:quota",
        "install-helpers": "install_helpers:install_helpers",
    }


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="curvefs")
def main() -> None:
    """Operate CurveFS clusters."""


if __name__ == "__main__":
    main()
