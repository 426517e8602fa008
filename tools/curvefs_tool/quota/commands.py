"""``quota``: lists the commands about quotas."""

from typing import ClassVar

import click

from ..lazy import LazyGroup


class _Commands(LazyGroup):
    places: ClassVar[dict[str, str]] = {
        "set": "quota.change:set_quota",
        "get": "quota.show:get",
        "list": "quota.show:list_quotas",
        "delete": "quota.change:delete",
        "check": "quota.check:check",
    }


@click.group(cls=_Commands)
def quota() -> None:
    """Limit the bytes and inodes below directories; the root directory's quota limits the filesystem."""
