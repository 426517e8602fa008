"""What a mount is told: ``curvefs NAME MOUNTPOINT -o key=value,...``. Pure; loads nothing heavy.

Mount options that belong to the kernel or to mount(8) are taken and ignored where they change nothing for us; unknown
ones are refused, so that a typing mistake does not go unnoticed.
"""

import re
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ..common.addresses import parse_address, parse_addresses
from ..common.errors import StartupError
from ..common.exits import ExitCode

_IGNORED = frozenset(
    (
        *("rw", "dev", "nodev", "suid", "nosuid", "exec", "noexec", "async", "sync", "dirsync"),
        *("atime", "noatime", "relatime", "norelatime", "strictatime", "lazytime", "diratime", "nodiratime"),
        *("auto", "noauto", "user", "nouser", "users", "owner", "group", "defaults", "nofail", "_netdev"),
        *("default_permissions", "noallow_other"),
    )
)
_SIZE = re.compile(r"^([0-9]+)([KMGT]?)(?:i?B)?$", re.IGNORECASE)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
MEMORY_MIN = 32 << 20


@dataclass(frozen=True, slots=True)
class MountConfig:
    """One mount. Timeouts in seconds, sizes in bytes."""

    fs_name: str
    mountpoint: str
    mds: list[str]
    read_only: bool = False
    allow_other: bool = True
    attr_timeout: float = field(default=1.0, metadata={"help": "how long attributes are trusted"})
    entry_timeout: float = field(default=1.0, metadata={"help": "how long names are trusted"})
    negative_timeout: float = field(default=0.0, metadata={"help": "how long a single absent name is trusted"})
    memory: int = field(default=300 << 20, metadata={"help": "budget for written, cached and fetched data"})
    metadata_cache: int = field(default=300_000, metadata={"help": "attributes and names kept"})
    store_timeout: float = field(default=300.0, metadata={"help": "how long the object store may be away before EIO"})
    metadata_timeout: float = field(default=60.0, metadata={"help": "how long a metaserver may be away before EIO"})
    uploads: int = field(default=16, metadata={"help": "blocks stored at once"})
    downloads: int = field(default=16, metadata={"help": "blocks fetched at once"})
    profile: str = field(default="", metadata={"help": "profile with the object store's credentials"})
    log: str = field(default="", metadata={"help": "log file; else syslog's place, standard error with -f"})
    log_level: str = field(default="info", metadata={"help": "debug, info, warning or error"})
    metrics: str = field(default="127.0.0.1:0", metadata={"help": "HOST:PORT of the metrics page"})


def parse_options(fs_name: str, mountpoint: str, text: str, *, mds_fallback: str = "") -> MountConfig:
    """Read ``a=b,c`` options. Raises StartupError (USAGE) with one line that names what is wrong."""
    mds = mds_fallback
    config = MountConfig(fs_name, mountpoint, [])
    for option in _split(text):
        key, equals, value = option.partition("=")
        if key == "mds":
            mds = value
        elif key == "ro":
            config = replace(config, read_only=True)
        elif key == "allow_other":
            config = replace(config, allow_other=True)
        elif key == "allow_root":
            raise StartupError("option 'allow_root' is not supported; allow_other is the default", ExitCode.USAGE)
        elif key in _IGNORED or key.startswith(("x-", "comment")):
            continue
        else:
            config = _with(config, key, value if equals else None)
    if not mds:
        raise StartupError("no MDS is given: -o mds=HOST:PORT or CURVEFS_MDS", ExitCode.USAGE)
    parse_address(config.metrics)
    return replace(config, mds=parse_addresses(mds))


def format_options(config: MountConfig) -> str:
    """Return the options that parse_options reads back to the same configuration."""
    parts = ["mds=" + "/".join(config.mds)]
    if config.read_only:
        parts.append("ro")
    default = MountConfig(config.fs_name, config.mountpoint, [])
    for one in fields(MountConfig):
        value = getattr(config, one.name)
        if "help" in one.metadata and value != getattr(default, one.name):
            parts.append(f"{one.name}={value}")
    return ",".join(parts)


def parse_size(text: str) -> int:
    """Read a size such as 300M or 1G (powers of 1024). Raises ValueError."""
    match = _SIZE.match(text)
    if not match:
        raise ValueError(text)
    return int(match[1]) * _UNITS[match[2].upper()]


def _split(text: str) -> list[str]:
    """Split at commas; an address list in mds= may contain commas too (H:P,H:P)."""
    parts: list[str] = []
    for part in text.split(","):
        is_address = re.fullmatch(r"[\w.\-\[\]]+:[0-9]+", part) and parts and parts[-1].startswith("mds=")
        if is_address:
            parts[-1] += "/" + part
        elif part:
            parts.append(part)
    return parts


def _with(config: MountConfig, key: str, value: str | None) -> MountConfig:
    known = {one.name: one for one in fields(MountConfig) if "help" in one.metadata}
    if key not in known:
        raise StartupError(f"unknown mount option '{key}'", ExitCode.USAGE)
    if not value:
        raise StartupError(f"mount option '{key}' needs a value", ExitCode.USAGE)
    parsed: str | int | float
    try:
        match getattr(config, key):
            case int():
                parsed = parse_size(value)
            case float():
                parsed = float(value)
            case _:
                parsed = value
    except ValueError:
        raise StartupError(f"mount option '{key}': '{value}' is no number", ExitCode.USAGE) from None
    if isinstance(parsed, int | float) and (parsed < 0 or parsed != parsed):  # noqa: PLR0124  # nan
        raise StartupError(f"mount option '{key}': '{value}' is out of range", ExitCode.USAGE)
    if key == "memory" and isinstance(parsed, int) and parsed < MEMORY_MIN:
        raise StartupError("mount option 'memory': at least 32M is needed", ExitCode.USAGE)
    if key in ("uploads", "downloads", "metadata_cache") and not parsed:
        raise StartupError(f"mount option '{key}': at least 1 is needed", ExitCode.USAGE)
    if key == "log_level" and value not in ("debug", "info", "warning", "error"):
        raise StartupError(
            f"mount option 'log_level': '{value}' is not one of debug, info, warning, error", ExitCode.USAGE
        )
    changes: dict[str, Any] = {key: parsed}  # the field's type was just matched
    return replace(config, **changes)
