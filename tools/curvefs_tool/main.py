"""The command line: lists the commands, each from its own file, loaded when it is used."""

import importlib
from typing import ClassVar

import click


class _Lazy(click.Group):
    """Loads a command's module when the command is run or its help is shown."""

    places: ClassVar[dict[str, str]] = {
        "up": "up:up",
        "down": "down:down",
        "status": "status:status",
        "create-fs": "create_fs:create_fs",
        "list-fs": "list_fs:list_fs",
        "query-fs": "query_fs:query_fs",
        "delete-fs": "delete_fs:delete_fs",
        "install-helpers": "install_helpers:install_helpers",
    }

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(self.places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        place = self.places.get(cmd_name)
        if place is None:
            return None
        module, name = place.split(":")
        found: click.Command = getattr(importlib.import_module(f"curvefs_tool.{module}"), name)
        return found


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="curvefs")
def main() -> None:
    """Operate CurveFS clusters."""


if __name__ == "__main__":
    main()
