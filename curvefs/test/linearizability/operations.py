"""What is asked of a namespace, by inode numbers, as a metadata server is asked. What is answered: see namespace.py."""

from dataclasses import dataclass
from enum import Enum

DIRECTORY = "directory"
FILE = "file"
OK = "ok"

Name = str | bytes


class Flag(Enum):
    """What renameat2(2) may be told."""

    NONE = 0
    NOREPLACE = 1
    EXCHANGE = 2

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Create:
    """A new file. Without exclusive, a file that is there will do."""

    parent: int
    name: Name
    exclusive: bool = True


@dataclass(frozen=True, slots=True)
class Mkdir:
    """A new directory."""

    parent: int
    name: Name


@dataclass(frozen=True, slots=True)
class Link:
    """Another name for a file."""

    inode: int
    new_parent: int
    new_name: Name


@dataclass(frozen=True, slots=True)
class Unlink:
    """A file's name is removed."""

    parent: int
    name: Name


@dataclass(frozen=True, slots=True)
class Rmdir:
    """An empty directory is removed."""

    parent: int
    name: Name


@dataclass(frozen=True, slots=True)
class Rename:
    """A name is moved, over another or not, or two are exchanged."""

    parent: int
    name: Name
    new_parent: int
    new_name: Name
    flag: Flag = Flag.NONE


@dataclass(frozen=True, slots=True)
class Lookup:
    """What a name leads to."""

    parent: int
    name: Name


@dataclass(frozen=True, slots=True)
class Getattr:
    """What an inode is."""

    inode: int


@dataclass(frozen=True, slots=True)
class Readdir:
    """All names of a directory at one instant."""

    parent: int


Operation = Create | Mkdir | Link | Unlink | Rmdir | Rename | Lookup | Getattr | Readdir
