"""The topology file: which pools, zones and servers there are, and by their addresses which metaservers belong where.

    {"pools": [{"name": "pool1", "replica_count": 3, "zones": [
        {"name": "zone1", "servers": [{"name": "server1", "address": "10.0.0.1", "external_address": "192.0.2.1"}]}]}]}

It is checked as a whole: a file with mistakes is refused with all of them, each with its path, and changes nothing. It
says everything: what it leaves out is removed, unless it is in use. Names identify; a pool's name, a server's name and
an address occur once, a zone's name once in its pool. A metaserver says which server it is on, or is found by its
address: that of a server is a host, for all metaservers on it, or HOST:PORT, for that one; the more exact one wins. A
server without an address has those metaservers that name it.

Pure: a text and the present topology in, changes or mistakes out. Applying the same file again changes nothing.
"""

import enum
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ....proto import topology_pb2 as pb
from ...common.errors import InvalidArgument

FORMAT = 1
DEFAULT = "default"  # pool and zone of metaservers without a server: all of them, while there is no topology
_FILE_SIZE_MAX = 16 << 20
_MISTAKES_MAX = 100
P = TypeVar("P")
R = TypeVar("R", pb.Pool, pb.Zone, pb.Server)
_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
# A name, an IPv4 address, or an IPv6 address in brackets; with or without a port.
_Address = Annotated[
    str,
    StringConstraints(pattern=r"^([A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$"),
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ServerPart(_Part):
    """A machine. external_address: where clients reach it, if elsewhere."""

    name: _Name
    address: _Address | None = None
    external_address: _Address | None = None


class ZonePart(_Part):
    """What fails together."""

    name: _Name
    servers: list[ServerPart] = []


class PoolPart(_Part):
    """Zones among which copysets are spread. copyset_count: at least so many; 0: as many as are needed."""

    name: _Name
    replica_count: int = Field(3, ge=1, le=7)
    copyset_count: int = Field(0, ge=0, le=1_000_000)
    zones: list[ZonePart] = Field(min_length=1)


class TopologyFile(_Part):
    """The whole file."""

    pools: list[PoolPart] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong, and where: ``pools[0].zones[2].name``; an empty path means the whole file."""

    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}" if self.path else self.what


def refusal(mistakes: list[Mistake]) -> InvalidArgument:
    """Return the error that says what is wrong with a file, a line for each mistake."""
    lines = [str(mistake) for mistake in mistakes[:_MISTAKES_MAX]]
    if len(mistakes) > _MISTAKES_MAX:
        lines.append(f"and {len(mistakes) - _MISTAKES_MAX} more")
    return InvalidArgument("\n".join(lines))


# ------------------------------------------------------------------------------------------------- reading


def read_topology(text: str | bytes) -> TopologyFile:
    """Return what a file says. Raises InvalidArgument."""
    if len(text) > _FILE_SIZE_MAX:
        raise refusal([Mistake("", f"the file is larger than {_FILE_SIZE_MAX} bytes")])
    try:
        told = json.loads(text, object_pairs_hook=_without_doubles)
        found = TopologyFile.model_validate(told)
    except ValidationError as error:
        raise refusal([_mistake(one["loc"], one["type"], one["msg"]) for one in error.errors()]) from error
    except (ValueError, RecursionError) as error:
        raise refusal([Mistake("", f"not a JSON file: {error}")]) from error
    mistakes = [*_doubles(found), *_reserved(found), *_too_few_zones(found)]
    if mistakes:
        raise refusal(mistakes)
    return found


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        keys = [key for key, _ in pairs]
        double = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the field '{double}' occurs twice in one object")
    return made


def _mistake(location: tuple[int | str, ...], kind: str, message: str) -> Mistake:
    path = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in location).lstrip(".")
    what = {
        "extra_forbidden": "this field is unknown",
        "missing": "this field is missing",
        "too_short": "at least one is needed",
        "string_pattern_mismatch": f"not a valid {location[-1] if location else 'text'}",
    }
    return Mistake(path, what.get(kind, message[:1].lower() + message[1:]))


def _doubles(file: TopologyFile) -> Iterator[Mistake]:
    pools, servers, addresses = _Names("pool"), _Names("server"), _Names("server of address")
    for pool_path, pool in _numbered("pools", file.pools):
        yield from pools.note(pool.name, f"{pool_path}.name")
        zones = _Names("zone")
        for zone_path, zone in _numbered(f"{pool_path}.zones", pool.zones):
            yield from zones.note(zone.name, f"{zone_path}.name")
            for path, server in _numbered(f"{zone_path}.servers", zone.servers):
                yield from servers.note(server.name, f"{path}.name")
                if server.address is not None:
                    yield from addresses.note(server.address, f"{path}.address")
                if server.external_address not in (None, server.address):
                    yield from addresses.note(server.external_address or "", f"{path}.external_address")


def _reserved(file: TopologyFile) -> Iterator[Mistake]:
    for path, pool in _numbered("pools", file.pools):
        if pool.name == DEFAULT:
            yield Mistake(f"{path}.name", f"'{DEFAULT}' is the pool of metaservers without a server")


def _too_few_zones(file: TopologyFile) -> Iterator[Mistake]:
    for path, pool in _numbered("pools", file.pools):
        count = sum(bool(zone.servers) for zone in pool.zones)
        if count < pool.replica_count:
            yield Mistake(
                f"{path}.zones", f"{count} with servers, but {pool.replica_count} replicas need as many zones"
            )


class _Names:
    """Names that may occur once, and where each did."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._places: dict[str, str] = {}

    def note(self, name: str, path: str) -> Iterator[Mistake]:
        """Note a name; yield a mistake if it was there before."""
        before = self._places.setdefault(name, path)
        if before != path:
            yield Mistake(path, f"there is a {self._kind} '{name}' already, at {before}")


def _numbered(path: str, parts: list[P]) -> Iterator[tuple[str, P]]:
    return ((f"{path}[{number}]", part) for number, part in enumerate(parts))


# ------------------------------------------------------------------------------------------------- changing


class Kind(enum.Enum):
    """What happens to a record."""

    ADD = "add"
    CHANGE = "change"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class TopologyChange:
    """One record to write or to remove."""

    kind: Kind
    record: pb.Pool | pb.Zone | pb.Server

    def __str__(self) -> str:
        return f"{self.kind.value} {type(self.record).__name__.lower()} {self.record.name}"


@dataclass(frozen=True, slots=True)
class Topology:
    """The present topology, by id. Records are not modified."""

    pools: dict[int, pb.Pool] = field(default_factory=dict)
    zones: dict[int, pb.Zone] = field(default_factory=dict)
    servers: dict[int, pb.Server] = field(default_factory=dict)

    def server_at(self, address: str) -> pb.Server | None:
        """Return the server that a metaserver at HOST:PORT belongs to."""
        host = host_of(address)
        found: pb.Server | None = None
        for server in self.servers.values():
            theirs = {server.internal_address, server.external_address} - {""}
            if address in theirs:
                return server
            if host in theirs:
                found = server
        return found

    def zone_of(self, server_id: int) -> int:
        """Return the zone of a server; 0, the default one, for none."""
        server = self.servers.get(server_id)
        return server.zone_id if server is not None else 0

    def pool_of(self, server_id: int) -> int:
        """Return the pool of a server; 0, the default one, for none."""
        zone = self.zones.get(self.zone_of(server_id))
        return zone.pool_id if zone is not None else 0

    def after(self, changes: Iterable[TopologyChange]) -> "Topology":
        """Return the topology with changes made."""
        pools, zones, servers = dict(self.pools), dict(self.zones), dict(self.servers)
        for change in changes:
            match change.record:
                case pb.Pool() as pool:
                    _apply(pools, pool.pool_id, pool, change.kind)
                case pb.Zone() as zone:
                    _apply(zones, zone.zone_id, zone, change.kind)
                case pb.Server() as server:
                    _apply(servers, server.server_id, server, change.kind)
        return Topology(pools, zones, servers)


def host_of(address: str) -> str:
    """Return the host of HOST or HOST:PORT; an IPv6 host is in brackets."""
    host, _, port = address.rpartition(":")
    return host if host and port.isdigit() else address


def plan_changes(
    file: TopologyFile, present: Topology, metaservers: Iterable[pb.Metaserver], next_id: Callable[[str], int]
) -> list[TopologyChange]:
    """Return what makes the present topology what a file says, in an order in which every record finds its parent.

    metaservers: all; where one lies, replicas may lie. next_id: returns the next number for
    "pool", "zone" or "server". Raises InvalidArgument when that would remove or move what is in use.
    """
    plan = _Plan(file, present, next_id)
    plan.make()
    mistakes = list(plan.refusals(metaservers))
    if mistakes:
        raise refusal(mistakes)
    return plan.changes


def _apply(table: dict[int, R], id_: int, record: R, kind: Kind) -> None:
    if kind is Kind.REMOVE:
        del table[id_]
    else:
        table[id_] = record


class _Plan:
    """The changes, and where in the file each record comes from."""

    def __init__(self, file: TopologyFile, present: Topology, next_id: Callable[[str], int]) -> None:
        self._file = file
        self._present = present
        self._next_id = next_id
        self._pool_ids = {pool.name: id_ for id_, pool in present.pools.items()}
        self._zone_ids = {(zone.pool_id, zone.name): id_ for id_, zone in present.zones.items()}
        self._server_ids = {server.name: id_ for id_, server in present.servers.items()}
        self._paths: dict[tuple[str, int], str] = {}
        self.changes: list[TopologyChange] = []

    def make(self) -> None:
        """Fill ``changes``: first what is added and changed, from the top, then what is removed, from the bottom."""
        for path, part in _numbered("pools", self._file.pools):
            pool_id = self._pool_ids.get(part.name) or self._next_id("pool")
            pool = pb.Pool(format=FORMAT, pool_id=pool_id, name=part.name, replica_count=part.replica_count)
            pool.zone_count, pool.copyset_count = len(part.zones), part.copyset_count
            self._put("pool", pool_id, pool, self._present.pools.get(pool_id), path)
            for zone_path, zone_part in _numbered(f"{path}.zones", part.zones):
                self._put_zone(pool_id, zone_part, zone_path)
        self._remove("server", self._present.servers)
        self._remove("zone", self._present.zones)
        self._remove("pool", self._present.pools)

    def _put_zone(self, pool_id: int, part: ZonePart, path: str) -> None:
        zone_id = self._zone_ids.get((pool_id, part.name)) or self._next_id("zone")
        zone = pb.Zone(format=FORMAT, zone_id=zone_id, name=part.name, pool_id=pool_id)
        self._put("zone", zone_id, zone, self._present.zones.get(zone_id), path)
        for server_path, one in _numbered(f"{path}.servers", part.servers):
            server_id = self._server_ids.get(one.name) or self._next_id("server")
            server = pb.Server(format=FORMAT, server_id=server_id, name=one.name, zone_id=zone_id)
            server.internal_address = one.address or ""
            server.external_address = one.external_address or server.internal_address
            self._put("server", server_id, server, self._present.servers.get(server_id), server_path)

    def _put(self, kind: str, id_: int, record: R, before: R | None, path: str) -> None:
        self._paths[kind, id_] = path
        if record != before:
            self.changes.append(TopologyChange(Kind.ADD if before is None else Kind.CHANGE, record))

    def _remove(self, kind: str, present: dict[int, R]) -> None:
        left_out = sorted(id_ for id_ in present if (kind, id_) not in self._paths)
        self.changes += [TopologyChange(Kind.REMOVE, present[id_]) for id_ in left_out]

    def refusals(self, metaservers: Iterable[pb.Metaserver]) -> Iterator[Mistake]:
        """Yield why what is in use cannot be removed or moved."""
        future = self._present.after(self.changes)
        for metaserver in sorted(metaservers, key=lambda one: one.metaserver_id):
            before = self._present.servers.get(metaserver.server_id)
            if before is None:
                continue
            after = future.servers.get(metaserver.server_id)
            who = f"metaserver {metaserver.metaserver_id} ({metaserver.address})"
            if after is None:
                yield self._left_out(before, who)
            elif after.zone_id != before.zone_id:
                zones = [self._present.zones[before.zone_id].name, future.zones[after.zone_id].name]
                moved = f"{who} would move from zone '{zones[0]}' to zone '{zones[1]}'; retire it and add it there"
                yield Mistake(self._paths["server", after.server_id], moved)

    def _left_out(self, server: pb.Server, who: str) -> Mistake:
        zone = self._present.zones[server.zone_id]
        pool = self._present.pools[zone.pool_id]
        if ("zone", zone.zone_id) in self._paths:
            path = self._paths["zone", zone.zone_id]
            return Mistake(f"{path}.servers", f"server '{server.name}' is left out, but {who} is on it")
        if ("pool", pool.pool_id) in self._paths:
            path = self._paths["pool", pool.pool_id]
            return Mistake(f"{path}.zones", f"zone '{zone.name}' is left out, but {who} is in it")
        return Mistake("pools", f"pool '{pool.name}' is left out, but {who} is in it")
