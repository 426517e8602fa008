"""The settings of a cluster made by `up`: chosen at the first start, kept in cluster.json for good.

What is asked for later must agree with what is kept; another shape is another cluster, except for the store of the
MDS, which `kv-migrate` changes.
"""

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode

from .state import FORMAT, PORT_MAX, free_ports, write_json

HOST = "127.0.0.1"
_COUNT_MAX = 16  # of servers of one kind
REPLICAS = 3  # unless told otherwise, where there are as many metaservers
Asked = Mapping[str, str | int | None]  # by the name of the setting; None: not said


@dataclass(slots=True)
class Settings:
    """The settings of a cluster on one machine.

    replicas: of each copyset. mds, etcd: how many; without etcd the one MDS keeps its state itself. zones: among which
    the metaservers are spread; 0: none. delete_grace, trash_retention: of the filesystem, in seconds. compression: of
    blocks. encrypt: the file of the key, which stays where it is.
    """

    fs: str
    object_store: str
    metaservers: int
    ports: dict[str, int] = field(default_factory=dict)
    replicas: int = 1
    mds: int = 1
    etcd: int = 0
    zones: int = 0
    delete_grace: int = 600
    trash_retention: int = 24 * 3600
    compression: str = "none"
    encrypt: str = ""

    @property
    def mds_names(self) -> list[str]:
        """Return the names of the MDS, which are those of their folders too."""
        return ["mds", *(f"mds-{number}" for number in range(2, self.mds + 1))]

    @property
    def etcd_names(self) -> list[str]:
        """Return the names of etcd's members."""
        return [f"etcd-{number}" for number in range(1, self.etcd + 1)]

    @property
    def metaserver_names(self) -> list[str]:
        """Return the names of the metaservers."""
        return [f"metaserver-{number}" for number in range(1, self.metaservers + 1)]

    @property
    def mds_addresses(self) -> list[str]:
        """Return HOST:PORT of each MDS."""
        return [self.address(name) for name in self.mds_names]

    @property
    def etcd_endpoints(self) -> list[str]:
        """Return HOST:PORT of each member of etcd, for clients."""
        return [self.address(name) for name in self.etcd_names]

    def address(self, name: str) -> str:
        """Return HOST:PORT of a port."""
        return f"{HOST}:{self.ports[name]}"

    @property
    def port_names(self) -> set[str]:
        """Return what each port that is needed is called."""
        members = {f"{name}{what}" for name in self.etcd_names for what in ("", "-peer", "-metrics")}
        return members | {*self.mds_names, *self.metaserver_names}

    def add_ports(self) -> None:
        """Choose the ports that are missing. Raises StartupError (ADDRESS_IN_USE)."""
        missing = sorted(self.port_names - self.ports.keys())
        found = free_ports(len(missing), random.SystemRandom(), taken=self.ports.values())
        self.ports |= dict(zip(missing, found, strict=True))


def new_settings(data: Path, asked: Asked) -> Settings:
    """Return the settings of a new cluster, without ports. Raises StartupError (USAGE)."""
    said = {name: value for name, value in asked.items() if value is not None}
    settings = Settings(**({"fs": "demo", "object_store": (data / "objects").as_uri(), "metaservers": 1} | said))  # type: ignore[arg-type] # each value is of its setting's type
    if "replicas" not in said:
        settings.replicas = REPLICAS if settings.metaservers >= REPLICAS else 1
    check_settings(settings)
    return settings


def check_settings(settings: Settings) -> None:
    """Raise StartupError (USAGE) for numbers of servers that do not fit together."""
    for reason in _mistakes(settings):
        raise StartupError(reason, ExitCode.USAGE)


def _mistakes(settings: Settings) -> Iterable[str]:
    if (count := settings.replicas) > settings.metaservers:
        yield f"{count} replicas need {count} metaservers, not {settings.metaservers}; say --metaservers"
    if settings.zones > settings.metaservers:
        yield f"{settings.zones} zones need {settings.zones} metaservers, not {settings.metaservers}; say --metaservers"
    if 0 < settings.zones < settings.replicas:
        yield f"{settings.replicas} replicas need {settings.replicas} zones, not {settings.zones}"
    if settings.mds > 1 and not settings.etcd:
        yield f"{settings.mds} MDS need etcd as their store; say --etcd 3, or --mds 1"
    if settings.etcd and settings.etcd % 2 == 0:
        yield f"{settings.etcd} members of etcd survive no more failures than {settings.etcd - 1}; say an odd number"


def settle(data: Path, asked: Asked) -> Settings:
    """Return the cluster's settings: those kept, which what is asked for must agree with; new ones the first time.

    Raises StartupError (DATA_FOLDER) naming the ones that differ, (USAGE) for what does not fit together.
    """
    try:
        kept = load_settings(data)
    except FileNotFoundError:
        settings = new_settings(data, asked)
        settings.add_ports()
        save_settings(data, settings)
        return settings
    differing = [name for name, value in asked.items() if value is not None and value != getattr(kept, name)]
    if differing:
        was = " ".join(f"{_flag(name)} {getattr(kept, name)}" for name in differing)
        now = " ".join(f"{_flag(name)} {asked[name]}" for name in differing)
        more = "; see kv-migrate" if {"mds", "etcd"} & {*differing} else ""
        raise StartupError(f"{data} was made with {was}; it cannot be run with {now}{more}", ExitCode.DATA_FOLDER)
    return kept


def load_settings(data: Path) -> Settings:
    """Read cluster.json. Raises FileNotFoundError, StartupError (DATA_FOLDER)."""
    try:
        said: dict[str, Any] = json.loads((data / "cluster.json").read_text())
        version = said.pop("format")
        settings = Settings(**said) if version == FORMAT else None
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StartupError(f"{data / 'cluster.json'} cannot be read", ExitCode.DATA_FOLDER) from error
    if settings is None:
        reason = f"{data / 'cluster.json'} is of version {str(version)[:20]}; this version knows {FORMAT}"
        raise StartupError(reason, ExitCode.DATA_FOLDER)
    if not _is_whole(settings):
        raise StartupError(f"{data / 'cluster.json'} is damaged", ExitCode.DATA_FOLDER)
    return settings


def _is_whole(settings: Settings) -> bool:
    """True when each setting is of its type, and each server has its ports."""
    for one in fields(settings):
        if type(getattr(settings, one.name)) is not (dict if one.name == "ports" else one.type):
            return False
    return (
        max(settings.metaservers, settings.mds, settings.etcd) <= _COUNT_MAX
        and settings.port_names <= settings.ports.keys()
        and all(type(port) is int and 0 < port <= PORT_MAX for port in settings.ports.values())
    )


def save_settings(data: Path, settings: Settings) -> None:
    """Write cluster.json, atomically. Raises OSError."""
    write_json(data / "cluster.json", {"format": FORMAT} | asdict(settings))


def _flag(setting: str) -> str:
    return "--" + setting.replace("_", "-")
