"""``copyset``: lists the commands about copysets."""

from typing import ClassVar

import click

from ..lazy import LazyGroup


class _Commands(LazyGroup):
    places: ClassVar[dict[str, str]] = {
        "list": "copyset.show:list_copysets",
        "query": "copyset.show:query",
        "compare": "copyset.compare:compare",
        "transfer-leader": "copyset.leader:transfer_leader",
        "add-peer": "copyset.peers:add_peer",
        "remove-peer": "copyset.peers:remove_peer",
        "replace-peer": "copyset.peers:replace_peer",
        "change-peers": "copyset.peers:change_peers",
        "create": "copyset.replicas:create",
        "remove": "copyset.replicas:remove",
        "rebuild": "copyset.replicas:rebuild",
    }


@click.group(cls=_Commands)
def copyset() -> None:
    """Look at copysets (replicated groups on metaservers) and change them."""
