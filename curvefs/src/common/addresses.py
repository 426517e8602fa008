"""Addresses: ``HOST:PORT`` and lists of them separated by slashes, commas or both."""

import re

from .errors import StartupError
from .exits import ExitCode

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")


def parse_address(text: str) -> tuple[str, int]:
    """Split ``HOST:PORT``. Raises StartupError (usage) on anything else."""
    match = _ADDRESS.fullmatch(text.strip())
    if not match or int(match[2]) > 65535:
        raise StartupError(f"'{text}' is no address: HOST:PORT is expected", ExitCode.USAGE)
    return match[1], int(match[2])


def parse_addresses(text: str) -> list[str]:
    """Split a list such as ``H:P/H:P`` or ``H:P,H:P``, checking each. Raises StartupError when empty or wrong."""
    parts = [part.strip() for part in re.split(r"[/,]", text) if part.strip()]
    if not parts:
        raise StartupError("no MDS address is given", ExitCode.USAGE)
    for part in parts:
        parse_address(part)
    return parts
