"""Topology files for tests."""

import json
from typing import Any


def pool(name: str, zones: dict[str, list[str]], *, replicas: int = 3, **fields: Any) -> dict[str, Any]:
    """Return a pool of zones with servers; a server is ``NAME`` or ``NAME=ADDRESS``."""
    return {
        "name": name,
        "replica_count": replicas,
        "zones": [{"name": zone, "servers": [_server(one) for one in servers]} for zone, servers in zones.items()],
    } | fields


def text(*pools: dict[str, Any]) -> bytes:
    """Return a topology file."""
    return json.dumps({"pools": pools}).encode()


def _server(told: str) -> dict[str, str]:
    name, _, address = told.partition("=")
    return {"name": name, "address": address} if address else {"name": name}


THREE_ZONES = {"zone1": ["a"], "zone2": ["b"], "zone3": ["c"]}
