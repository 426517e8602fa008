"""Taking mounts and leftover processes down, in the order that loses nothing: mounts, metaservers, MDS, etcd.

What the kernel and the MDS are asked is behind Outside, so that tests of the supervisor need neither.
"""

import contextlib
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from curvefs.proto import mds_pb2, mds_pb2_grpc
from curvefs.src.client import mountpoints, runtime
from curvefs.src.common.errors import CurveFSError
from curvefs.src.rpc.blocking import BlockingClient

from .children import stop_recorded
from .servers import stop_rank
from .state import ClusterState

SESSIONS_DEADLINE_S = 3.0
FORCED_TIMEOUT_S = 60.0

Process = tuple[int, int]  # pid, start time


class Mounts(Protocol):
    """What the kernel knows about mounts; see mountpoints.py."""

    def check(self, place: str) -> None:
        """Raise StartupError (MOUNTPOINT) unless it can be mounted on; takes a dead mount away."""

    def is_ours(self, place: str) -> bool:
        """True if a filesystem of ours is mounted there, dead or alive."""
        ...

    def is_dead(self, place: str) -> bool:
        """True for a mount of ours that nobody serves."""
        ...

    def users(self, place: str) -> list[str]:
        """Return who uses it."""
        ...

    def client(self, place: str) -> Process | None:
        """Return the process that serves it."""
        ...

    def unmount(self, place: str) -> None:
        """Unmount. Raises StartupError (BUSY)."""

    def lazy_unmount(self, place: str) -> None:
        """Take it out of the tree; who has files open keeps them."""


class KernelMounts:
    """The real ones."""

    def check(self, place: str) -> None:
        """Raise StartupError (MOUNTPOINT) unless it can be mounted on; takes a dead mount away."""
        mountpoints.check_mountpoint(place)

    def is_ours(self, place: str) -> bool:
        """True if a filesystem of ours is mounted there, dead or alive."""
        return mountpoints.mounted_type(place) == mountpoints.FSTYPE

    def is_dead(self, place: str) -> bool:
        """True for a mount of ours that nobody serves."""
        return mountpoints.is_dead(place)

    def users(self, place: str) -> list[str]:
        """Return who uses it."""
        return mountpoints.users_of(place)

    def client(self, place: str) -> Process | None:
        """Return the process that serves it."""
        return runtime.client_of(place)

    def unmount(self, place: str) -> None:
        """Unmount. Raises StartupError (BUSY)."""
        mountpoints.unmount(place)

    def lazy_unmount(self, place: str) -> None:
        """Take it out of the tree; who has files open keeps them."""
        mountpoints.lazy_unmount(place)


def session_mountpoints(mds: list[str]) -> list[tuple[str, int]]:
    """Return (mountpoint, pid of the client) of what a cluster knows on this machine; none if it does not answer."""
    client = BlockingClient(mds, deadline_s=SESSIONS_DEADLINE_S)
    try:
        sessions = client.call(mds_pb2_grpc.MdsServiceStub, "ListSessions", mds_pb2.ListSessionsRequest()).sessions
    except CurveFSError:
        return []
    finally:
        client.close()
    here = socket.gethostname()
    return [(one.mountpoint, one.pid) for one in sessions if one.host == here and not one.retained_since_ns]


@dataclass(slots=True)
class Outside:
    """What the supervisor asks of the world around its children."""

    mounts: Mounts
    mountpoints_of: Callable[[list[str]], list[tuple[str, int]]] = session_mountpoints


def unmount_all(outside: Outside, mds: list[str], own: str, *, force: bool) -> list[Process]:
    """Unmount what this machine has mounted of a cluster; return the clients, which still store what was written.

    own: the mountpoint of `up`, or ''. force: busy mounts too, lazily. Raises StartupError (BUSY), naming the mount;
    with several mounts all are looked at before the first is unmounted.
    """
    mounts = outside.mounts
    places = [own] if own and mounts.is_ours(own) else []
    for place, pid in outside.mountpoints_of(mds):
        client = mounts.client(place) if place not in places and mounts.is_ours(place) else None
        if client is not None and client[0] == pid:  # else another cluster is mounted there by now
            places.append(place)
    if not force and len(places) > 1:
        for place in places:
            if users := mounts.users(place):
                raise mountpoints.busy(place, users)
    clients = []
    for place in places:
        client = mounts.client(place)
        if force:
            mounts.lazy_unmount(place)
        else:
            mounts.unmount(place)
        if client is not None:
            clients.append(client)
            if force:  # a lazily unmounted filesystem lives as long as somebody uses it
                runtime.send_signal(*client, signal.SIGTERM)
    return clients


def stop_leftovers(outside: Outside, data: Path, *, force: bool = False) -> None:
    """Stop what a supervisor that was killed has left: the client first, waiting for it, then the servers.

    Raises StartupError (BUSY).
    """
    state = ClusterState.load(data)
    client = state.processes.pop("client", None) or state.starting.pop("client", None)
    if client is not None:
        if client.detail and outside.mounts.is_ours(client.detail):
            if force or outside.mounts.is_dead(client.detail):
                outside.mounts.lazy_unmount(client.detail)
            else:
                outside.mounts.unmount(client.detail)
        elif client.running:  # it had not mounted yet
            runtime.send_signal(client.pid, client.started, signal.SIGTERM)
        if force:
            runtime.send_signal(client.pid, client.started, signal.SIGTERM)
        if not runtime.wait_gone(client.pid, client.started, FORCED_TIMEOUT_S if force else None):
            runtime.send_signal(client.pid, client.started, signal.SIGKILL)
    servers = [*state.processes.items(), *state.starting.items()]
    for name, one in sorted(servers, key=lambda item: stop_rank(item[0])):
        if name != "supervisor":
            stop_recorded(one)
    if state.processes or state.starting or client is not None:
        with contextlib.suppress(FileNotFoundError):
            ClusterState(data).save()
