"""What a mount is told: ``curvefs NAME MOUNTPOINT -o key=value,...``. Pure; loads nothing heavy.

Options of the kernel (nosuid, noexec, ...) are handed on to it, those of mount(8) and fstab are taken and ignored;
unknown ones are refused, so that a typing mistake does not go unnoticed. Of options that contradict each other the last
one counts, as everywhere.
"""

import re
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ..common.addresses import parse_address, parse_addresses
from ..common.errors import StartupError
from ..common.exits import ExitCode

_TIMES = ("atime", "noatime", "relatime", "norelatime", "strictatime", "nostrictatime", "lazytime", "nolazytime")
_IGNORED = frozenset(
    (
        *_TIMES,
        *("diratime", "nodiratime", "iversion", "noiversion", "silent", "loud", "mand", "nomand", "nosymfollow"),
        *("auto", "noauto", "user", "nouser", "users", "nousers", "owner", "noowner", "group", "nogroup"),
        *("defaults", "nofail", "_netdev", "default_permissions"),
    )
)
# What the kernel enforces itself, each with the option that it takes back.
_KERNEL = {"dev": "nodev", "suid": "nosuid", "exec": "noexec", "sync": "async", "dirsync": "nodirsync"}
_KERNEL_OPPOSITE = _KERNEL | {off: on for on, off in _KERNEL.items()}
# What a mount that is there can be given anew; the rest is the client's.
REMOUNTED = frozenset(("ro", "rw", *_KERNEL_OPPOSITE, *_TIMES, "diratime", "nodiratime"))
_FLAGS: dict[str, dict[str, Any]] = {
    "ro": {"read_only": True},
    "rw": {"read_only": False},
    "allow_other": {"allow_other": True},
    "noallow_other": {"allow_other": False},
    "writeback": {"writeback": True},
    "nowriteback": {"writeback": False},
}
_SIZE = re.compile(r"([0-9]+)([KMGT]?)(?:i?B)?", re.IGNORECASE)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
MEMORY_MIN = 32 << 20
SIZE_MAX = 1 << 50
SECONDS_MAX = 1e9  # thirty years; infinity and nan are no timeouts


@dataclass(frozen=True, slots=True)
class MountConfig:
    """One mount. Timeouts in seconds, sizes in bytes."""

    fs_name: str
    mountpoint: str
    mds: list[str]
    read_only: bool = False
    allow_other: bool = True
    writeback: bool = False  # fsync is durable on the first folder of the disk cache; the store follows
    kernel_options: tuple[str, ...] = ()  # of the kernel's own: nosuid, noexec, ...; libfuse adds nosuid and nodev
    attr_timeout: float = field(default=1.0, metadata={"help": "how long attributes are trusted"})
    entry_timeout: float = field(default=1.0, metadata={"help": "how long names are trusted"})
    negative_timeout: float = field(default=0.0, metadata={"help": "how long a single absent name is trusted"})
    memory: int = field(default=300 << 20, metadata={"help": "budget for written, cached and fetched data"})
    metadata_cache: int = field(default=300_000, metadata={"help": "attributes and names kept"})
    store_timeout: float = field(default=300.0, metadata={"help": "how long the object store may be away before EIO"})
    metadata_timeout: float = field(default=60.0, metadata={"help": "how long a metaserver may be away before EIO"})
    uploads: int = field(default=16, metadata={"help": "blocks stored at once"})
    downloads: int = field(default=16, metadata={"help": "blocks fetched at once"})
    cache_dir: str = field(default="", metadata={"help": "folders of the disk cache, A:B; none: no disk cache"})
    cache_size: int = field(
        default=20 << 30, metadata={"help": "bytes the disk cache may take, as far as there is room"}
    )
    writeback_size: int = field(
        default=10 << 30, metadata={"help": "bytes staged with writeback, before writes slow down"}
    )
    writeback_wait: float = field(default=300.0, metadata={"help": "how long an unmount waits for what is staged"})
    free_space: float = field(default=0.1, metadata={"help": "share of a cache disk that stays free"})
    profile: str = field(default="", metadata={"help": "profile with the object store's credentials"})
    key_file: str = field(default="", metadata={"help": "the key of an encrypted filesystem"})
    log: str = field(default="", metadata={"help": "log file; else /var/log/curvefs/NAME.log, standard error with -f"})
    log_level: str = field(default="info", metadata={"help": "debug, info, warning or error"})
    metrics: str = field(default="127.0.0.1:0", metadata={"help": "HOST:PORT of the metrics page"})

    @property
    def cache_folders(self) -> tuple[str, ...]:
        """Return the folders of the disk cache, each once."""
        return tuple(dict.fromkeys(filter(None, self.cache_dir.split(":"))))


_OWN = {one.name: one for one in fields(MountConfig) if "help" in one.metadata}
_MINIMUM = {"memory": MEMORY_MIN}
_MAXIMUM = {"free_space": 0.99}


def parse_options(fs_name: str, mountpoint: str, text: str, *, mds_fallback: str = "") -> MountConfig:
    """Read ``a=b,c`` options. Raises StartupError (USAGE) with one line that names what is wrong."""
    mds = mds_fallback
    config = MountConfig(fs_name, mountpoint, [])
    unknown: list[str] = []
    for option in _split(text):
        key, equals, value = option.partition("=")
        match key:
            case "mds":
                mds = value
            case _ if equals and key in _FLAGS.keys() | _KERNEL_OPPOSITE.keys():
                raise StartupError(f"mount option '{key}' takes no value", ExitCode.USAGE)
            case _ if key in _FLAGS:
                config = replace(config, **_FLAGS[key])
            case "allow_root":
                raise StartupError("option 'allow_root' is not supported; allow_other is the default", ExitCode.USAGE)
            case _ if key in _KERNEL_OPPOSITE:
                others = (one for one in config.kernel_options if one not in (key, _KERNEL_OPPOSITE[key]))
                config = replace(config, kernel_options=(*others, key))
            case _ if key in _IGNORED or key.startswith(("x-", "X-")) or key == "comment":
                pass
            case _ if key in _OWN:
                config = _with(config, key, value if equals else None)
            case _:
                unknown.append(f"'{key}'")
    if unknown:
        raise StartupError(f"unknown mount option{'s'[: len(unknown) - 1]} {', '.join(unknown)}", ExitCode.USAGE)
    if not mds:
        raise StartupError("no MDS is given: -o mds=HOST:PORT or CURVEFS_MDS", ExitCode.USAGE)
    _check_cache(config)
    parse_address(config.metrics)
    return replace(config, mds=parse_addresses(mds))


def _check_cache(config: MountConfig) -> None:
    if any(not part.startswith("/") for part in config.cache_folders):
        raise StartupError(f"mount option 'cache_dir': '{config.cache_dir}': paths are absolute", ExitCode.USAGE)
    if config.writeback and not config.cache_folders:
        raise StartupError("mount option 'writeback' needs cache_dir, where it keeps what is written", ExitCode.USAGE)
    if config.writeback and config.read_only:
        raise StartupError("mount options 'writeback' and 'ro' contradict each other", ExitCode.USAGE)


def format_options(config: MountConfig) -> str:
    """Return the options that parse_options reads back to the same configuration.

    Raises StartupError (USAGE) for a value with a comma, which options cannot carry.
    """
    parts = ["mds=" + "/".join(config.mds)]
    if config.read_only:
        parts.append("ro")
    if not config.allow_other:
        parts.append("noallow_other")
    if config.writeback:
        parts.append("writeback")
    parts += config.kernel_options
    for name, one in _OWN.items():
        value = getattr(config, name)
        if value != one.default:
            if "," in str(value):
                raise StartupError(f"mount option '{name}': '{value}' has a comma", ExitCode.USAGE)
            parts.append(f"{name}={value}")
    return ",".join(parts)


def describe_options() -> list[tuple[str, str, str]]:
    """Return (name, default, meaning) of each option of ours, for --help."""
    return [(name, _show(one.default), one.metadata["help"]) for name, one in _OWN.items()]


def _show(default: Any) -> str:
    return f"{default >> 20}M" if isinstance(default, int) and default >= 1 << 20 else str(default)


def parse_size(text: str) -> int:
    """Read a size such as 300M or 1G (powers of 1024). Raises ValueError."""
    match = _SIZE.fullmatch(text)
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
    if isinstance(parsed, float) and not 0 <= parsed <= _MAXIMUM.get(key, SECONDS_MAX):
        raise StartupError(f"mount option '{key}': '{value}' is out of range", ExitCode.USAGE)
    if isinstance(parsed, int) and not _MINIMUM.get(key, 1) <= parsed <= SIZE_MAX:
        least = "32M" if key == "memory" else "1"
        raise StartupError(f"mount option '{key}': '{value}' is out of range; at least {least}", ExitCode.USAGE)
    if key == "log_level" and value not in ("debug", "info", "warning", "error"):
        raise StartupError(
            f"mount option 'log_level': '{value}' is not one of debug, info, warning, error", ExitCode.USAGE
        )
    changes: dict[str, Any] = {key: parsed}  # the field's type was just matched
    return replace(config, **changes)
