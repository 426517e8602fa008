"""The namespace of a POSIX filesystem as a model for the checker: directories, files with several names, renames.

Answers are the name of an errno, or a tuple that begins with "ok"; facts at its end may be left out, then they are not
checked:

    Create, Mkdir    ("ok", inode)                the name was free; or, without ``exclusive``, a file's
    Lookup           ("ok", inode, type, nlink)
    Link             ("ok", nlink)
    Getattr          ("ok", type, nlink)          a directory has 2 links and one for each subdirectory
    Readdir          ("ok", frozenset of names)   without "." and ".."
    Unlink, Rmdir, Rename    ("ok",)

Errors are those of Linux (man pages of section 2), in the order in which fs/namei.c finds them: do_renameat2,
vfs_rename, vfs_link, vfs_unlink, vfs_rmdir, may_delete. POSIX leaves that order open, so with ``any_error`` the model
takes each error whose condition holds. An inode that is gone answers ENOENT or ESTALE, also to Getattr and Readdir:
what an open descriptor still shows of it is not the namespace's.

The system under test chooses inode numbers, and never uses one again (rule 1). A create of unknown outcome makes an
inode with a placeholder for its number; the first answer, or request, that can mean this inode gives it its number.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from curvefs.test.linearizability.checker import Footprint, Model
from curvefs.test.linearizability.footprints import footprint, inodes
from curvefs.test.linearizability.history import UNKNOWN
from curvefs.test.linearizability.operations import (
    DIRECTORY,
    FILE,
    OK,
    Create,
    Flag,
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
from curvefs.test.linearizability.tree import Draft, Inode, State, empty

_GONE = "ESTALE"  # or ENOENT

_READS = (Lookup, Getattr, Readdir)


class Namespace(Model[State]):
    """The model. ``start``: what is there before the first call."""

    def __init__(self, start: State | None = None, *, any_error: bool = False) -> None:
        self._start = empty() if start is None else start
        self._any_error = any_error

    def initial(self) -> State:
        return self._start

    def step(self, state: State, operation: Operation, answer: Any) -> Sequence[State]:
        found = self._step(state, operation, answer)
        if state.unnumbered and (not found or answer is UNKNOWN):
            for stranger in inodes(operation):
                if not state.knows(stranger):  # it may mean one of those that have no number yet
                    for placeholder in sorted(state.unnumbered, key=str):
                        found = (*found, *self.step(state.numbered(placeholder, stranger), operation, answer))
        return found

    def _step(self, state: State, operation: Operation, answer: Any) -> Sequence[State]:
        rules = _RULES[type(operation)]
        errors = rules.errors(state, operation)
        if answer is UNKNOWN:
            return (state,) if errors else (rules.effect(state, operation, None)[0],)
        if answer[0] != OK:
            accepted = errors if self._any_error else errors[:1]
            return (state,) if answer in accepted or (answer == "ENOENT" and _GONE in accepted) else ()
        if errors:
            return ()
        told = answer[1:]
        after, facts = rules.effect(state, operation, told[0] if told else None)
        return (after,) if facts[: len(told)] == told else ()

    def observes(self, operation: Operation, answer: Any) -> bool:
        return isinstance(operation, _READS) or (answer is not UNKNOWN and answer[0] != OK)

    def footprint(self, state: State, operation: Operation, answer: Any, *, sought: bool) -> Footprint | None:
        return footprint(state, operation, answer, sought=sought)

    def expected(self, state: State, operation: Operation) -> str:
        errors = _RULES[type(operation)].errors(state, operation)
        if errors:
            return " or ".join(errors if self._any_error else errors[:1]).replace(_GONE, f"ENOENT or {_GONE}")
        answer, after = self.run(state, operation, None)
        return f"('{OK}', a number never used)" if after.unnumbered - state.unnumbered else str(answer)

    def run(self, state: State, operation: Operation, number: int | None) -> tuple[Any, State]:
        """Do an operation; returns (answer, state). number: of what it makes; None leaves a placeholder."""
        rules = _RULES[type(operation)]
        errors = rules.errors(state, operation)
        if errors:
            return ("ENOENT" if errors[0] == _GONE else errors[0]), state
        after, facts = rules.effect(state, operation, number if isinstance(operation, Create | Mkdir) else None)
        return (OK, *facts), after


# ----------------------------------------------------------------------------------------- what is refused
# Each returns the errors whose conditions hold, in the order of Linux.


def _of_parent(state: State, parent: Inode) -> tuple[str, ...]:
    if parent in state.directories:
        return ()
    return ("ENOTDIR",) if parent in state.files else (_GONE,)


def _create_errors(state: State, operation: Create) -> tuple[str, ...]:
    errors = _of_parent(state, operation.parent)
    there = state.find(operation.parent, operation.name)
    if there is None or (not operation.exclusive and there in state.files):
        return errors
    return ("EEXIST",) if operation.exclusive else ("EISDIR", "EEXIST")


def _mkdir_errors(state: State, operation: Mkdir) -> tuple[str, ...]:
    errors = _of_parent(state, operation.parent)
    return errors if state.find(operation.parent, operation.name) is None else ("EEXIST",)


def _link_errors(state: State, operation: Link) -> tuple[str, ...]:
    errors = _of_parent(state, operation.new_parent)
    if state.find(operation.new_parent, operation.new_name) is not None:
        errors += ("EEXIST",)
    if operation.inode in state.directories:
        errors += ("EPERM",)
    elif operation.inode not in state.files:
        errors += (_GONE,)
    return errors


def _named_errors(state: State, operation: Lookup | Unlink | Rmdir) -> tuple[str, ...]:
    errors = _of_parent(state, operation.parent)
    return errors or (() if operation.name in state.directories[operation.parent] else ("ENOENT",))


def _unlink_errors(state: State, operation: Unlink) -> tuple[str, ...]:
    errors = _named_errors(state, operation)
    return ("EISDIR",) if not errors and state.find(operation.parent, operation.name) in state.directories else errors


def _rmdir_errors(state: State, operation: Rmdir) -> tuple[str, ...]:
    errors = _named_errors(state, operation)
    if errors:
        return errors
    entries = state.directories.get(state.directories[operation.parent][operation.name])
    if entries is None:
        return ("ENOTDIR",)
    return ("ENOTEMPTY",) if entries else ()


def _rename_errors(state: State, operation: Rename) -> tuple[str, ...]:
    parent, new_parent = operation.parent, operation.new_parent
    found = [*_of_parent(state, parent), *_of_parent(state, new_parent)]
    if found:  # that it is no directory is found on the way to it, that it is gone only under its lock
        return tuple(sorted(found, key="ENOTDIR".__ne__))
    moved = state.directories[parent].get(operation.name)
    target = state.directories[new_parent].get(operation.new_name)
    if moved is None:
        return ("ENOENT", "EEXIST") if target is not None and operation.flag is Flag.NOREPLACE else ("ENOENT",)
    exchanged = operation.flag is Flag.EXCHANGE
    if exchanged and target is None:
        found.append("ENOENT")
    if operation.flag is Flag.NOREPLACE and target is not None:
        found.append("EEXIST")
    if moved in state.directories and state.is_below(new_parent, moved):
        found.append("EINVAL")
    if target in state.directories and target is not None and state.is_below(parent, target):
        found.append("EINVAL" if exchanged else "ENOTEMPTY")
    if target is not None and target != moved and not exchanged:
        if target not in state.directories:
            found += ["ENOTDIR"] if moved in state.directories else []
        else:
            found += ["EISDIR"] if moved not in state.directories else []
            found += ["ENOTEMPTY"] if state.directories[target] else []
    return tuple(found)


def _getattr_errors(state: State, operation: Getattr) -> tuple[str, ...]:
    return () if operation.inode in state.files or operation.inode in state.directories else (_GONE,)


def _readdir_errors(state: State, operation: Readdir) -> tuple[str, ...]:
    return _of_parent(state, operation.parent)


# ------------------------------------------------------------------------------------------- what happens
# Each returns (state after it, facts of the answer), for an operation that is not refused. told: the first fact of the
# answer, if there is one; it matters where it is a number that the system under test has chosen.

_Effect = tuple[State, tuple[Any, ...]]


def _added(state: State, operation: Create | Mkdir, type_: str, told: Any) -> _Effect:
    parent, name = operation.parent, operation.name
    inode = told
    if told is None or state.knows(told):  # a number that is in use is no answer, and will not match
        inode = f"?{type_} {parent}/{name!r}"
        while inode in state.unnumbered:
            inode += "'"
    draft = Draft(state)
    draft.add(inode, type_)
    draft.attach(parent, name, inode)
    return draft.done(), (inode,)


def _create(state: State, operation: Create, told: Any) -> _Effect:
    if state.find(operation.parent, operation.name) is None:
        return _added(state, operation, FILE, told)
    state, facts = _lookup(state, operation, told)
    return state, facts[:1]


def _mkdir(state: State, operation: Mkdir, told: Any) -> _Effect:
    return _added(state, operation, DIRECTORY, told)


def _link(state: State, operation: Link, _: Any) -> _Effect:
    draft = Draft(state)
    draft.attach(operation.new_parent, operation.new_name, operation.inode)
    draft.files[operation.inode] += 1
    return draft.done(), (draft.files[operation.inode],)


def _remove(state: State, operation: Unlink | Rmdir, _: Any) -> _Effect:
    draft = Draft(state)
    draft.lose(draft.detach(operation.parent, operation.name))
    return draft.done(), ()


def _rename(state: State, operation: Rename, _: Any) -> _Effect:
    parent, name = operation.parent, operation.name
    new_parent, new_name = operation.new_parent, operation.new_name
    moved, target = state.find(parent, name), state.find(new_parent, new_name)
    if moved == target:  # two names of one inode
        return state, ()
    draft = Draft(state)
    draft.detach(parent, name)
    if target is not None:
        draft.detach(new_parent, new_name)
        if operation.flag is Flag.EXCHANGE:
            draft.attach(parent, name, target)
        else:
            draft.lose(target)
    assert moved is not None, "it was looked for when errors were"
    draft.attach(new_parent, new_name, moved)
    return draft.done(), ()


def _lookup(state: State, operation: Lookup | Create, told: Any) -> _Effect:
    inode = state.directories[operation.parent][operation.name]
    if inode != told and isinstance(inode, str) and isinstance(told, int) and not state.knows(told):
        state = state.numbered(inode, told)
        inode = told
    return state, (inode, *state.facts(inode))


def _getattr(state: State, operation: Getattr, _: Any) -> _Effect:
    return state, state.facts(operation.inode)


def _readdir(state: State, operation: Readdir, _: Any) -> _Effect:
    return state, (frozenset(state.directories[operation.parent]),)


class _Rules(NamedTuple):
    errors: Callable[[State, Any], tuple[str, ...]]
    effect: Callable[[State, Any, Any], _Effect]


_RULES: dict[type, _Rules] = {
    Create: _Rules(_create_errors, _create),
    Mkdir: _Rules(_mkdir_errors, _mkdir),
    Link: _Rules(_link_errors, _link),
    Unlink: _Rules(_unlink_errors, _remove),
    Rmdir: _Rules(_rmdir_errors, _remove),
    Rename: _Rules(_rename_errors, _rename),
    Lookup: _Rules(_named_errors, _lookup),
    Getattr: _Rules(_getattr_errors, _getattr),
    Readdir: _Rules(_readdir_errors, _readdir),
}
