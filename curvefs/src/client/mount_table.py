"""The kernel's tables of mounts (proc_pid_mountinfo(5)), and what would outlive an unmount.

A filesystem lives until the last mount of it is gone, wherever that is: a bind mount beside it, or the copy that a
container has that was begun meanwhile. An unmount takes those away only where it propagates (mount_namespaces(7)): in
the peer group of the mount it is mounted upon, and in the groups that receive from that one.
"""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

OWN = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line: ids of it and of the mount it is upon, ``major:minor``, peer groups ('' for none)."""

    mount_id: str
    parent_id: str
    device: str
    place: str
    type: str
    source: str
    shared: str = ""
    master: str = ""


def parse(text: str) -> list[Mount]:
    """Return the mounts of a table, in its order: a later one on the same folder hides the earlier one."""
    return [_parse_line(line) for line in text.split("\n") if line]  # other ends of lines are not escaped in names


def read(path: Path = OWN) -> list[Mount]:
    """Return the mounts that a process sees. Raises OSError."""
    return parse(os.fsdecode(path.read_bytes()))


def kept_by(place: str, own: list[Mount], others: dict[str, list[Mount]]) -> list[str]:
    """Return what would keep a filesystem alive when the topmost mount on a place of the own table is unmounted.

    As words for a person. others: tables of other namespaces, each under a name.
    """
    mount = next((one for one in reversed(own) if one.place == place), None)
    if mount is None:
        return []
    reached = _receivers(_upon(mount, own), [one for table in (own, *others.values()) for one in table])
    beside = [one for one in own if one.device == mount.device and one != mount and _stays(one, own, reached)]
    namespaces = [
        name
        for name, table in others.items()
        if any(one.device == mount.device and _stays(one, table, reached) for one in table)
    ]
    return [f"the mount on {one.place}" for one in beside] + [
        f"{name} in another mount namespace" for name in namespaces
    ]


def other_namespaces() -> dict[str, list[Mount]]:
    """Return the tables of the other mount namespaces, each under ``name (pid N)`` of a process that is in it.

    As far as this user may see.
    """
    seen = {_namespace(Path("/proc/self"))}
    tables = {}
    for process in sorted(_processes(), key=lambda path: int(path.name)):
        if (namespace := _namespace(process)) and namespace not in seen:
            with contextlib.suppress(OSError):
                name = f"{(process / 'comm').read_text().strip()} (pid {process.name})"
                tables[name] = read(process / "mountinfo")
                seen.add(namespace)
    return tables


def _parse_line(line: str) -> Mount:
    before, _, after = line.partition(" - ")
    mount_id, parent_id, device, _, place, _, *optional = before.split(" ")
    groups = dict(field.split(":", 1) for field in optional if ":" in field)
    type_, source = after.split(" ")[:2]
    place = _OCTAL.sub(lambda match: chr(int(match[1], 8)), place)
    return Mount(mount_id, parent_id, device, place, type_, source, groups.get("shared", ""), groups.get("master", ""))


def _upon(mount: Mount, table: list[Mount]) -> Mount | None:
    """Return the mount that a mount is upon."""
    return next((one for one in table if one.mount_id == mount.parent_id), None)


def _receivers(parent: Mount | None, mounts: Iterable[Mount]) -> set[str]:
    """Return the peer groups that what happens upon a mount reaches."""
    reached = {parent.shared} if parent is not None and parent.shared else set()
    edges = {(one.master, one.shared) for one in mounts if one.master and one.shared}
    while more := {to for of, to in edges if of in reached} - reached:
        reached |= more
    return reached


def _stays(mount: Mount, table: list[Mount], reached: set[str]) -> bool:
    parent = _upon(mount, table)
    return parent is None or not {parent.shared, parent.master} & reached


def _processes() -> Iterator[Path]:
    return (path for path in Path("/proc").iterdir() if path.name.isdigit())


def _namespace(process: Path) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(process / "ns" / "mnt")  # noqa: PTH115  # a name, which need not exist
    return ""
