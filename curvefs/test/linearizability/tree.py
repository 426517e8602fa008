"""A namespace at one instant: directories, files with several names. The state of the model in namespace.py.

A State is never changed. A change is made in a Draft, which copies what it touches and moves the hash by the names that
came and went. Inodes are known by their number or, until an answer told it, by a placeholder.
"""

from collections.abc import Mapping

from curvefs.test.linearizability.operations import DIRECTORY, FILE, Name

ROOT = 1

Inode = int | str  # a number, or a placeholder


class State:
    """A namespace. Equal if the same names lead to the same inodes and the same numbers are used up."""

    __slots__ = ("_hash", "directories", "files", "gone", "parents", "unnumbered")

    def __init__(
        self,
        directories: Mapping[Inode, Mapping[Name, Inode]],
        parents: Mapping[Inode, Inode],
        files: Mapping[Inode, int],
        gone: frozenset[int],
        unnumbered: frozenset[Inode],
        hash_: int,
    ) -> None:
        self.directories = directories  # inode -> name -> inode
        self.parents = parents  # of directories; the root's is the root
        self.files = files  # inode -> nlink
        self.gone = gone  # numbers that were used
        self.unnumbered = unnumbered  # placeholders
        self._hash = hash_

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, State):
            return NotImplemented
        return self._hash == other._hash and self.directories == other.directories and self.gone == other.gone

    def __str__(self) -> str:
        lines = []
        for inode, entries in self.directories.items():
            names = sorted(f"{name!r}: {child}{'/' * (child in self.directories)}" for name, child in entries.items())
            lines.append(f"{inode}/ {{{', '.join(names)}}}")
        linked = [f"{inode} has {nlink} names" for inode, nlink in self.files.items() if nlink > 1]
        return "\n".join([*lines, *linked, *([f"gone: {', '.join(map(str, sorted(self.gone)))}"] if self.gone else [])])

    def knows(self, inode: Inode) -> bool:
        """Say whether a number is or was in use."""
        return inode in self.directories or inode in self.files or inode in self.gone

    def find(self, parent: Inode, name: Name) -> Inode | None:
        """Return what a name leads to."""
        entries = self.directories.get(parent)
        return None if entries is None else entries.get(name)

    def nlink(self, inode: Inode) -> int:
        """Return the number of links of an inode that is there."""
        if inode in self.files:
            return self.files[inode]
        return 2 + sum(child in self.directories for child in self.directories[inode].values())

    def facts(self, inode: Inode) -> tuple[str, int]:
        """Return (type, nlink) of an inode that is there."""
        return DIRECTORY if inode in self.directories else FILE, self.nlink(inode)

    def is_below(self, directory: Inode, top: Inode) -> bool:
        """Say whether a directory is this one or somewhere below it."""
        while directory != top:
            above = self.parents[directory]
            if above == directory:
                return False
            directory = above
        return True

    def numbered(self, placeholder: Inode, number: int) -> "State":
        """Return the state in which a placeholder has got its number."""

        def of(inode: Inode) -> Inode:
            return number if inode == placeholder else inode

        directories = {
            of(parent): {name: of(child) for name, child in entries.items()}
            for parent, entries in self.directories.items()
        }
        parents = {of(inode): of(parent) for inode, parent in self.parents.items()}
        files = {of(inode): nlink for inode, nlink in self.files.items()}
        return State(
            directories, parents, files, self.gone, self.unnumbered - {placeholder}, _hash_of(directories, self.gone)
        )


def _hash_of(directories: Mapping[Inode, Mapping[Name, Inode]], gone: frozenset[int]) -> int:
    found = 0
    for parent, entries in directories.items():
        for name, child in entries.items():
            found ^= hash((parent, name, child))
    for inode in gone:
        found ^= hash((inode,))
    return found


def empty(root: int = ROOT) -> State:
    """Return the state of a new filesystem."""
    return State({root: {}}, {root: root}, {}, frozenset(), frozenset(), 0)


class Draft:
    """A state while it changes. Names come and go one by one; who counts links says so apart."""

    __slots__ = ("_hash", "directories", "files", "gone", "parents", "unnumbered")

    def __init__(self, state: State) -> None:
        self.directories = dict(state.directories)
        self.parents = dict(state.parents)
        self.files = dict(state.files)
        self.gone = state.gone
        self.unnumbered = state.unnumbered
        self._hash = hash(state)

    def attach(self, parent: Inode, name: Name, inode: Inode) -> None:
        """Give an inode a name that is free."""
        self.directories[parent] = {**self.directories[parent], name: inode}
        self._hash ^= hash((parent, name, inode))
        if inode in self.directories:
            self.parents[inode] = parent

    def detach(self, parent: Inode, name: Name) -> Inode:
        """Remove a name; the inode stays."""
        entries = dict(self.directories[parent])
        inode = entries.pop(name)
        self.directories[parent] = entries
        self._hash ^= hash((parent, name, inode))
        return inode

    def add(self, inode: Inode, type_: str) -> None:
        """Make an inode, without a name yet."""
        if type_ == DIRECTORY:
            self.directories[inode] = {}
        else:
            self.files[inode] = 1
        if isinstance(inode, str):
            self.unnumbered |= {inode}

    def lose(self, inode: Inode) -> None:
        """Take a link from an inode; the last one ends it."""
        nlink = self.files.get(inode, 1) - 1
        if nlink:
            self.files[inode] = nlink
            return
        if self.files.pop(inode, None) is None:
            del self.directories[inode], self.parents[inode]
        if isinstance(inode, str):
            self.unnumbered -= {inode}
        else:
            self.gone |= {inode}
            self._hash ^= hash((inode,))

    def done(self) -> State:
        """Return it as a state."""
        return State(self.directories, self.parents, self.files, self.gone, self.unnumbered, self._hash)
