"""Addresses: ``HOST:PORT`` and lists of them separated by slashes, commas or both."""

import re
import socket

from .errors import StartupError
from .exits import ExitCode

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_MAPPED = bytes(10) + b"\xff\xff"  # what IPv4 addresses begin with as those of IPv6


def parse_address(text: str) -> tuple[str, int]:
    """Split ``HOST:PORT``. Raises StartupError (usage) on anything else."""
    match = _ADDRESS.fullmatch(text.strip())
    if not match or int(match[2]) > 65535:
        raise StartupError(f"'{text}' is no address: HOST:PORT is expected", ExitCode.USAGE)
    return match[1], int(match[2])


def parse_told_address(text: str) -> tuple[str, int]:
    """Split the HOST:PORT of a server, which others are told: not 0.0.0.0 or [::]. Raises StartupError (usage)."""
    host, port = parse_address(text)
    if _is_unspecified(host):
        reason = f"'{text}' names no host: say the address by which others reach it"
        raise StartupError(reason, ExitCode.USAGE)
    return host, port


def _is_unspecified(host: str) -> bool:
    """True for what means every address of a machine, however it is written: 0 is 0.0.0.0, too."""
    try:
        if not host.startswith("["):
            return not any(socket.inet_aton(host))
        packed = socket.inet_pton(socket.AF_INET6, host.strip("[]"))
    except OSError:
        return False  # a name, or nothing that can be listened on
    return packed in (bytes(16), _MAPPED + bytes(4))


def parse_addresses(text: str) -> list[str]:
    """Split a list such as ``H:P/H:P`` or ``H:P,H:P``, checking each. Raises StartupError when empty or wrong."""
    parts = [part.strip() for part in re.split(r"[/,]", text) if part.strip()]
    if not parts:
        raise StartupError("no MDS address is given", ExitCode.USAGE)
    for part in parts:
        parse_address(part)
    return parts
