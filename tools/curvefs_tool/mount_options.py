"""The mount options of `up -o`: those of `curvefs`, but for what is the cluster's own."""

from dataclasses import replace
from pathlib import Path

from curvefs.src.client.options import MountConfig, format_options, parse_options
from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode

from .settings import Settings

_NO_MDS = "127.0.0.1:1"  # while they are only checked


def checked_options(mountpoint: str, options: tuple[str, ...]) -> str:
    """Return options as another process in another folder understands them. Raises StartupError (USAGE)."""
    if not options:
        return ""
    if not mountpoint:
        raise StartupError("-o is of a mount: say MOUNTPOINT", ExitCode.USAGE)
    config = parse_options("", mountpoint, ",".join(options), mds_fallback=_NO_MDS)
    if config.mds != [_NO_MDS]:
        raise StartupError("mount option 'mds' is the cluster's own", ExitCode.USAGE)
    config = replace(config, key_file=_absolute(config.key_file), log=_absolute(config.log))
    return format_options(config).removeprefix(f"mds={_NO_MDS}").removeprefix(",")


def mount_config(settings: Settings, mountpoint: str, options: str, mds: list[str]) -> MountConfig:
    """Return the mount of a cluster. Its key is that of the filesystem unless the options say otherwise."""
    config = parse_options(settings.fs, mountpoint, options, mds_fallback="/".join(mds))
    return config if config.key_file else replace(config, key_file=settings.encrypt)


def _absolute(path: str) -> str:
    return str(Path(path).absolute()) if path else ""
