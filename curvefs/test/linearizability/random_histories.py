"""Random histories of simulated clients on a filesystem in memory, which is right unless a script makes it lie.

Seeded: the same arguments give the same history. Each client asks, thinks, asks again; what it asks takes effect at one
instant between its beginning and its end. Some calls get no answer: the client gives up and goes on, and the call takes
effect never, soon, or much later. Clients name only inodes that somebody was told about before.

The filesystem here is written without the model (namespace.py): a dictionary changed in place, which raises on refusal.
A script (planted.py) is one more client, whose calls may be answered with a lie; the rest goes on around it.
"""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from curvefs.test.linearizability.history import UNKNOWN, Call
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
    Readdir,
    Rename,
    Rmdir,
    Unlink,
)
from curvefs.test.linearizability.tree import ROOT

_KINDS = ("create", "mkdir", "link", "unlink", "rmdir", "rename", "lookup", "getattr", "readdir")
_OF_TAKEN = frozenset(("unlink", "rmdir", "rename", "lookup"))
MANY_FILES = (16, 2, 6, 16, 5, 22, 16, 9, 8)  # how often each kind
MANY_DIRECTORIES = (2, 25, 1, 2, 10, 35, 10, 5, 5)


class Refused(Exception):
    """With the name of an errno."""


@dataclass(slots=True)
class Node:
    """An inode. entries: None for a file."""

    number: int
    nlink: int
    entries: dict[Any, int] | None
    parent: int = 0

    @property
    def type(self):
        return FILE if self.entries is None else DIRECTORY

    @property
    def names(self):
        """The entries of a directory."""
        assert self.entries is not None, "only a directory has names"
        return self.entries


class Filesystem:
    """A namespace in memory, changed in place."""

    def __init__(self):
        self.nodes = {ROOT: Node(ROOT, 2, {}, ROOT)}
        self._numbers = itertools.count(ROOT + 1)

    def apply(self, operation):
        """Do it, all at once, and return its answer."""
        try:
            return (OK, *getattr(self, type(operation).__name__.lower())(operation))
        except Refused as refused:
            return str(refused)

    def new_number(self):
        """Use up an inode number."""
        return next(self._numbers)

    def create(self, operation):
        there = self._entries(operation.parent).get(operation.name)
        if operation.exclusive or there is None:
            return self._add(operation, None)
        if self.nodes[there].type == DIRECTORY:
            raise Refused("EISDIR")
        return (there,)

    def mkdir(self, operation):
        made = self._add(operation, {})
        self.nodes[operation.parent].nlink += 1
        return made

    def link(self, operation):
        entries = self._entries(operation.new_parent)
        if operation.new_name in entries:
            raise Refused("EEXIST")
        node = self._node(operation.inode)
        if node.type == DIRECTORY:
            raise Refused("EPERM")
        entries[operation.new_name] = node.number
        node.nlink += 1
        return (node.nlink,)

    def unlink(self, operation):
        node = self._named(operation)
        if node.type == DIRECTORY:
            raise Refused("EISDIR")
        self._remove(operation.parent, operation.name)
        return ()

    def rmdir(self, operation):
        node = self._named(operation)
        if node.type == FILE:
            raise Refused("ENOTDIR")
        if node.entries:
            raise Refused("ENOTEMPTY")
        self._remove(operation.parent, operation.name)
        return ()

    def rename(self, operation):
        for number in (operation.parent, operation.new_parent):  # before it is seen that one of them is gone
            if number in self.nodes:
                self._entries(number)
        old, new = self._entries(operation.parent), self._entries(operation.new_parent)
        node = self._named(operation)
        other = self.nodes.get(new.get(operation.new_name))
        if operation.flag is Flag.EXCHANGE and other is None:
            raise Refused("ENOENT")
        if operation.flag is Flag.NOREPLACE and other is not None:
            raise Refused("EEXIST")
        if node.number in self._way_up(operation.new_parent):
            raise Refused("EINVAL")
        if other is not None and other.number in self._way_up(operation.parent):
            raise Refused("EINVAL" if operation.flag is Flag.EXCHANGE else "ENOTEMPTY")
        if node is other:
            return ()
        if other is not None and operation.flag is not Flag.EXCHANGE:
            if node.type != other.type:
                raise Refused("ENOTDIR" if node.type == DIRECTORY else "EISDIR")
            if other.entries:
                raise Refused("ENOTEMPTY")
            self._remove(operation.new_parent, operation.new_name)
        del old[operation.name]
        if other is not None and operation.flag is Flag.EXCHANGE:
            old[operation.name] = other.number
            self._moved(other, operation.new_parent, operation.parent)
        new[operation.new_name] = node.number
        self._moved(node, operation.parent, operation.new_parent)
        return ()

    def lookup(self, operation):
        node = self._named(operation)
        return node.number, node.type, node.nlink

    def getattr(self, operation):
        node = self._node(operation.inode)
        return node.type, node.nlink

    def readdir(self, operation):
        return (frozenset(self._entries(operation.parent)),)

    def _node(self, number):
        if number not in self.nodes:
            raise Refused("ENOENT")
        return self.nodes[number]

    def _entries(self, number):
        node = self._node(number)
        if node.entries is None:
            raise Refused("ENOTDIR")
        return node.entries

    def _named(self, operation):
        entries = self._entries(operation.parent)
        if operation.name not in entries:
            raise Refused("ENOENT")
        return self.nodes[entries[operation.name]]

    def _add(self, operation, entries):
        names = self._entries(operation.parent)
        if operation.name in names:
            raise Refused("EEXIST")
        number = names[operation.name] = self.new_number()
        self.nodes[number] = Node(number, 1 if entries is None else 2, entries, operation.parent)
        return (number,)

    def _remove(self, parent, name):
        node = self.nodes[self.nodes[parent].names.pop(name)]
        node.nlink -= 1
        if node.type == DIRECTORY:
            self.nodes[parent].nlink -= 1
        if node.type == DIRECTORY or not node.nlink:
            del self.nodes[node.number]

    def _moved(self, node, parent, new_parent):
        if node.type == DIRECTORY:
            self.nodes[parent].nlink -= 1
            self.nodes[new_parent].nlink += 1
            node.parent = new_parent

    def _way_up(self, number):
        while number != ROOT:
            yield number
            number = self.nodes[number].parent
        yield ROOT


@dataclass(frozen=True, slots=True)
class Planned:
    """A call of a script.

    lie: makes the answer from the true one. is_lost: it does nothing. is_held: the script goes on at once; the call
    takes effect and returns when the script has come to its end. is_unanswered: it takes effect, and nobody is told.
    """

    operation: Any
    lie: Callable[[Any], Any] | None = None
    is_lost: bool = False
    is_held: bool = False
    is_unanswered: bool = False
    client: str = "p"


@dataclass(frozen=True, slots=True)
class Shape:
    """What a history is like. Times are in the unit of a call's mean duration."""

    operations: int = 300
    clients: int = 8
    unknown: int = 20
    names: int = 10
    directories: int = 3
    think: float = 0.5
    weights: tuple[int, ...] = MANY_FILES
    late: float = 20.0  # the mean delay of what takes effect after its client gave up


@dataclass(slots=True)
class _Pending:
    """A call under way. answer: once it took effect."""

    id: int
    client: Any
    operation: Any
    began: float
    plan: Planned | None = None
    answer: Any = UNKNOWN


def random_history(seed, shape=Shape()):
    """Return a linearizable history."""
    return _Simulation(random.Random(seed), shape).run()


def history_with(script, seed, shape=Shape()):
    """Return (history, what the script returned).

    script: makes from (files, rng) a generator that yields what is Planned and is sent (id, answer).
    """
    simulation = _Simulation(random.Random(seed), shape, script)
    return simulation.run(), simulation.script_result


class _Simulation:
    """One run. Events are (time, order, what to do)."""

    def __init__(self, rng, shape, script=None):
        self.rng = rng
        self.shape = shape
        self.script = script
        self.script_result = None
        self.calls = []
        self._files = Filesystem()
        self._events = []
        self._order = itertools.count()
        self._ids = itertools.count()
        self._now = 0.0
        self._left = self.shape.operations
        self._unanswered = set(self.rng.sample(range(self._left), min(self.shape.unknown, self._left)))
        self._directories, self._known_files = [ROOT], []  # what somebody was told about
        self._held = []

    def run(self):
        for client in range(self.shape.clients):
            self._after(self.rng.random(), self._ask, client)
        if self.script is not None:
            # At a random time in the middle of it all.
            length = self.shape.operations * (1 + self.shape.think) / self.shape.clients
            self._after(self.rng.uniform(0.1, 0.8) * length, self._go_on, self.script(self._files, self.rng), None)
        while self._events:
            self._now, _, act, *arguments = heapq.heappop(self._events)
            act(*arguments)
        return self.calls

    def _after(self, delay, *what):
        heapq.heappush(self._events, (self._now + delay, next(self._order), *what))

    # ------------------------------------------------------------------------------------ random clients

    def _ask(self, client):
        if not self._left:
            return
        self._left -= 1
        pending = _Pending(next(self._ids), client, self._choose(), self._now)
        if self._left not in self._unanswered:
            before, after = self.rng.expovariate(2), self.rng.expovariate(2)
            self._after(before, self._take_effect, pending)
            self._after(before + after, self._answered, pending)
            return
        if self.rng.random() < 0.6:
            self._after(self.rng.expovariate(1 / self.rng.choice((1, self.shape.late))), self._take_effect, pending)
        self.calls.append(Call(client, pending.id, pending.operation, pending.began))
        self._think(client, 3)

    def _take_effect(self, pending):
        plan = pending.plan
        pending.answer = UNKNOWN if plan and plan.is_lost else self._files.apply(pending.operation)
        if plan and plan.lie:
            pending.answer = plan.lie(pending.answer)

    def _answered(self, pending):
        answer = self._told(pending.operation, pending.answer)
        self.calls.append(Call(pending.client, pending.id, pending.operation, pending.began, self._now, answer))
        self._think(pending.client, 0)

    def _think(self, client, at_least):
        self._after(at_least + self.rng.expovariate(1 / self.shape.think), self._ask, client)

    def _told(self, operation, answer):
        """Learn numbers from an answer; sometimes leave out facts."""
        if answer[0] == OK and isinstance(operation, Create | Mkdir | Lookup):
            type_ = answer[2] if isinstance(operation, Lookup) else FILE if isinstance(operation, Create) else DIRECTORY
            known = self._directories if type_ == DIRECTORY else self._known_files
            if answer[1] not in known:
                known.append(answer[1])
            if isinstance(operation, Lookup) and self.rng.random() < 0.5:
                return answer[:2]
        return answer

    def _choose(self):
        """Choose what to ask, mostly something that could succeed if nobody else did anything."""
        rng = self.rng
        directories = [number for number in self._directories if number in self._files.nodes]
        wanted = len(directories) <= self.shape.directories and rng.random() < 0.3
        kind = "mkdir" if wanted else rng.choices(_KINDS, self.shape.weights)[0]
        parent, name = self._place(directories, taken=kind in _OF_TAKEN)
        new_parent, new_name = self._place(directories, taken=rng.random() < 0.5)
        match kind:
            case "create":
                return Create(parent, name, exclusive=rng.random() < 0.8)
            case "mkdir":
                return Mkdir(parent, name)
            case "link" if self._known_files:
                return Link(rng.choice(self._known_files[-12:]), parent, name)
            case "unlink":
                return Unlink(parent, name)
            case "rmdir":
                return Rmdir(parent, name)
            case "rename":
                return Rename(parent, name, new_parent, new_name, rng.choice((Flag.NONE, Flag.NONE, *Flag)))
            case "readdir":
                return Readdir(parent)
            case "getattr":
                return Getattr(rng.choice((self._known_files or [ROOT])[-12:] + self._directories[-4:]))
            case _:
                return Lookup(parent, name)

    def _place(self, directories, *, taken):
        rng = self.rng
        parent = rng.choice(directories if rng.random() < 0.9 else self._directories)  # also one that is gone
        names = [f"n{number}" for number in range(self.shape.names)]
        if rng.random() < 0.7 and parent in self._files.nodes:
            names = [name for name in names if (name in self._files.nodes[parent].names) is taken] or names
        return parent, rng.choice(names)

    # -------------------------------------------------------------------------------------- the script

    def _go_on(self, script, reply):
        try:
            plan = script.send(reply)
        except StopIteration as end:
            self.script_result = end.value
            for pending in self._held:
                self._take_effect(pending)
                self._after(self.rng.expovariate(2), self._reply, None, pending)
            return
        pending = _Pending(next(self._ids), plan.client, plan.operation, self._now, plan)
        if plan.is_unanswered:
            self.calls.append(Call(plan.client, pending.id, plan.operation, self._now))
            self._take_effect(pending)
        if plan.is_held:
            self._held.append(pending)
        if plan.is_held or plan.is_unanswered:
            self._after(0.01, self._go_on, script, (pending.id, UNKNOWN))
            return
        before, after = self.rng.expovariate(2), self.rng.expovariate(2)
        self._after(before, self._take_effect, pending)
        self._after(before + after, self._reply, script, pending)

    def _reply(self, script, pending):
        self.calls.append(Call(pending.client, pending.id, pending.operation, pending.began, self._now, pending.answer))
        if script is not None:
            self._after(
                0.01 + self.rng.expovariate(1 / self.shape.think), self._go_on, script, (pending.id, pending.answer)
            )
