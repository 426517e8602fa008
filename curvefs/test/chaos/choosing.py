"""What the clients of one history ask: random operations on few names, so that they meet. Pure.

A history has directories of its own directly below the root, where the product places them in different partitions. All
its clients choose from what any of them was told; a name in the root carries the history's number.
"""

from curvefs.test.linearizability.history import UNKNOWN
from curvefs.test.linearizability.operations import (
    DIRECTORY,
    OK,
    Create,
    Flag,
    Getattr,
    Link,
    Lookup,
    Mkdir,
    Readdir,
    Rename,
    Rmdir,
    Unlink,
)
from curvefs.test.linearizability.tree import ROOT

TOPS = 4
NAMES = "abcd"
RECENT = 8  # inodes that are still asked for, of each kind
_WEIGHTS = {
    Create: 20,
    Mkdir: 9,
    Link: 12,
    Rename: 24,
    Unlink: 10,
    Rmdir: 5,
    Lookup: 14,
    Getattr: 8,
    Readdir: 4,
}


class Choosing:
    """The operations of one history."""

    def __init__(self, label, rng):
        self._label = label
        self._rng = rng
        self.directories = []  # the latest last
        self.files = []

    def tops(self):
        """Return what begins the history."""
        return [Mkdir(ROOT, self._top(number)) for number in range(TOPS)]

    def operation(self):
        """Choose what to ask."""
        rng = self._rng
        kind = rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        parent, name = self._place(in_root=kind in (Mkdir, Rmdir, Lookup, Rename))
        if kind is Create:
            return Create(parent, name, exclusive=rng.random() < 0.7)
        if kind is Link and self.files:
            return Link(rng.choice(self.files), parent, name)
        if kind is Rename:
            new_parent, new_name = self._place(in_root=True)
            flag = rng.choices([Flag.NONE, Flag.NOREPLACE, Flag.EXCHANGE], [70, 10, 20])[0]
            return Rename(parent, name, new_parent, new_name, flag)
        if kind is Getattr:
            known = self.files + self.directories
            return Getattr(rng.choice(known)) if known else Lookup(parent, name)
        if kind is Readdir:
            return Readdir(parent)
        if kind is Link:
            return Create(parent, name)
        return kind(parent, name)

    def learn(self, call):
        """Take what an answer told."""
        if call.answer is UNKNOWN or call.answer[0] != OK:
            return
        match call.operation:
            case Create():
                self._learn(self.files, call.answer[1])
            case Mkdir():
                self._learn(self.directories, call.answer[1])
            case Lookup():
                self._learn(self.directories if call.answer[2] == DIRECTORY else self.files, call.answer[1])

    def _learn(self, known, inode):
        if inode not in known:
            known.append(inode)
            del known[:-RECENT]

    def _place(self, *, in_root):
        if not self.directories or (in_root and self._rng.random() < 0.1):
            return ROOT, self._top(self._rng.randrange(TOPS))
        return self._rng.choice(self.directories), self._rng.choice(NAMES)

    def _top(self, number):
        return f"{self._label}-{number}"
