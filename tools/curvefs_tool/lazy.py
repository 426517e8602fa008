"""A group of commands, each from its own file, loaded when it is used."""

import importlib
from typing import ClassVar

import click


class LazyGroup(click.Group):
    """Loads a command's module when the command is run or its help is shown.

    places: each command's module below this package, and its name there, ``module:name``.
    """

    places: ClassVar[dict[str, str]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Return the names of the commands."""
        return list(self.places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return a command; None for an unknown name."""
        place = self.places.get(cmd_name)
        if place is None:
            return None
        module, name = place.split(":")
        found: click.Command = getattr(importlib.import_module(f"curvefs_tool.{module}"), name)
        return found
