"""Which operations on a namespace can be in each other's way: what each reads and writes, in a given state.

Things that are read and written:

    (directory, name)     what a name leads to
    (inode, LIVE)         that it is there
    (directory, LIST)     its names as a whole: is it empty, what does a listing show
    (inode, COUNT)        its number of links
    TREE                  which directory is below which

Which inode a name leads to can change before an operation has its turn. But whoever changes it names that very name,
so the two are in conflict; and who moves an inode counts as writing LIVE and COUNT of it. So of a chain of moves, whose
last operation removes the inode, the first is in conflict with whoever reads these. Where this state does not tell
whether a directory or a file will be moved, the footprint is that of a directory.

An operation with a number that is not known yet (it can mean an inode of unknown number) is in everybody's way. So who
tells a number for the first time, a create or a lookup, need not count as writing anything of that inode.
"""

from typing import Any

from curvefs.test.linearizability.checker import Footprint
from curvefs.test.linearizability.history import UNKNOWN
from curvefs.test.linearizability.operations import (
    OK,
    Create,
    Getattr,
    Link,
    Lookup,
    Mkdir,
    Operation,
    Readdir,
    Rename,
    Rmdir,
    Unlink,
)
from curvefs.test.linearizability.tree import State

LIVE = 0
LIST = 1
COUNT = 2
TREE = "tree"
_NLINK_AT = 3  # of a lookup's answer


def footprint(state: State, operation: Operation, answer: Any, *, sought: bool) -> Footprint | None:
    """Return what a call reads and writes. See Model.footprint."""
    if not all(map(state.knows, inodes(operation))):
        return None
    told = () if answer is UNKNOWN else answer[1:] if answer[0] == OK else None
    reads: list[Any]
    writes: list[Any]
    match operation:
        case Lookup(parent, name):
            reads, writes = _lookup(state, parent, name, told or ()), []
        case Getattr(inode):
            reads, writes = [(inode, LIVE), (inode, COUNT)], []
        case Readdir(parent):
            reads, writes = _readdir(state, parent, told, sought=sought), []
        case Create(parent, name) | Mkdir(parent, name):
            reads = [(parent, name), (parent, LIVE)]
            writes = [(parent, name), (parent, LIST)]
            writes += [(parent, COUNT)] * isinstance(operation, Mkdir)
        case Link(inode, parent, name):
            reads = [(parent, name), (parent, LIVE), (inode, LIVE), *[(inode, COUNT)] * bool(told)]
            writes = [(parent, name), (parent, LIST), (inode, COUNT)]
        case Unlink(parent, name) | Rmdir(parent, name):
            there = state.find(parent, name)
            reads = [(parent, name), (parent, LIVE), (there, LIST)]
            writes = [(parent, name), (parent, LIST), (parent, COUNT), (there, LIVE), (there, COUNT)]
        case Rename():
            reads, writes = _rename(state, operation)
    return Footprint(frozenset(reads), frozenset(writes if told is not None else ()))


def inodes(operation: Operation) -> tuple[int, ...]:
    """Return the numbers of inodes that an operation names."""
    match operation:
        case Rename(parent, _, new_parent):
            return parent, new_parent
        case Link(inode, parent):
            return inode, parent
        case Getattr(inode):
            return (inode,)
        case _:
            return (operation.parent,)


def _lookup(state, parent, name, told):
    reads = [(parent, name), (parent, LIVE)]
    if len(told) >= _NLINK_AT:
        reads += [(told[0], COUNT), (state.find(parent, name), COUNT)]
    return reads


def _readdir(state, parent, told, *, sought):
    if not sought:
        return [(parent, LIVE), (parent, LIST)]
    # Whatever touches other names only can come after it, and it would show the same.
    differing = told[0] ^ state.directories.get(parent, {}).keys() if told else ()
    return [(parent, LIVE), *((parent, name) for name in differing)]


def _rename(state, operation):
    old = operation.parent, operation.name
    new = operation.new_parent, operation.new_name
    moved, target = state.find(*old), state.find(*new)
    reads: list[Any] = [old, new, (operation.parent, LIVE), (operation.new_parent, LIVE)]
    writes: list[Any] = [old, new]
    for parent in (operation.parent, operation.new_parent):
        writes += [(parent, LIST), (parent, COUNT)]
    for inode in (moved, target):
        if inode is not None:
            reads.append((inode, LIST))
            writes += [(inode, LIVE), (inode, COUNT)]
    if moved not in state.files or (target is not None and target not in state.files):
        reads.append(TREE)
        writes.append(TREE)
    return reads, writes
