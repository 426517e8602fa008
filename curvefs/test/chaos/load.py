"""A metadata load whose every acknowledged operation is known: one process of it, and what its journal says.

Each process has names that nobody else uses: in two directories of its own, directly below the root and so in different
partitions, and in one that all share. It writes down, outside the filesystem, what it is about to do, and then that it
was done and how long it took. What was done must be there, once; a file's inode tells whether its names are one file's.

    {"do": [kind, ...], "at": seconds}       about to; times are CLOCK_MONOTONIC
    {"took": seconds}                        it returned
    {"took": seconds, "error": errno's name, "happened": bool}
                                             it failed; whether it happened all the same was then looked up
    {"wrong": what}                          something that was looked at afterwards is not as it has to be

As a program: ``python -m curvefs.test.chaos.load ROOT JOURNAL NUMBER``; ends when its standard input does.
"""

import errno
import itertools
import json
import os
import random
import select
import stat
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

DIRECTORY = "directory"
SHARED = "shared"
NAMES_MAX = 60
LOOKING_S = 120.0


def tops(number):
    """Return the directories in which a process works; its own ones and the one that all share."""
    return [f"own{number}-a", f"own{number}-b", SHARED]


class Model:
    """What is there: path -> DIRECTORY or the number of a file. The tops are there from the beginning."""

    def __init__(self, number):
        self.number = number
        self.names = {}
        self._files = itertools.count(1)

    def apply(self, operation):
        """Apply an operation that succeeds."""
        match operation:
            case ["create", path]:
                self.names[path] = next(self._files)
            case ["mkdir", path]:
                self.names[path] = DIRECTORY
            case ["link", old, new]:
                self.names[new] = self.names[old]
            case ["unlink" | "rmdir", path]:
                del self.names[path]
            case ["rename", old, new]:
                if self.names[old] == self.names.get(new):
                    return  # two names of one file: rename(2) does nothing
                for path in [path for path in self.names if path == old or path.startswith(old + "/")]:
                    self.names[new + path.removeprefix(old)] = self.names.pop(path)

    def plan(self, rng):
        """Choose an operation that succeeds. A name is never used again by a create, mkdir, link or rename."""
        files = [path for path, what in self.names.items() if what != DIRECTORY]
        directories = [path for path, what in self.names.items() if what == DIRECTORY]
        empty = [path for path in directories if not any(other.startswith(path + "/") for other in self.names)]
        kinds = ["create", "mkdir"] if len(self.names) < NAMES_MAX else []
        kinds += ["link", "rename", "rename", "replace", "unlink"] if len(files) > 1 else ["create"]
        kinds += ["move"] if directories else []
        kinds += ["rmdir"] if empty else []
        fresh = self._fresh(rng, directories)
        match rng.choice(kinds):
            case "create" | "mkdir" as kind:
                return [kind, fresh]
            case "link":
                return ["link", rng.choice(files), fresh]
            case "rename":
                return ["rename", rng.choice(files), fresh]
            case "replace":
                return ["rename", *rng.sample(files, 2)]
            case "unlink":
                return ["unlink", rng.choice(files)]
            case "rmdir":
                return ["rmdir", rng.choice(empty)]
            case "move":
                moved = rng.choice(directories)
                elsewhere = [one for one in directories if one != moved and not one.startswith(moved + "/")]
                return ["rename", moved, self._fresh(rng, elsewhere)]

    def _fresh(self, rng, directories):
        parent = rng.choice([*tops(self.number), *directories])
        return f"{parent}/{self.number}-{rng.randrange(10**12)}"


def perform(root, operation):
    """Apply an operation to the filesystem."""
    match operation:
        case ["create", path]:
            os.close(os.open(root / path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        case ["link", old, new]:
            os.link(root / old, root / new)
        case ["rename", old, new]:
            os.rename(root / old, root / new)
        case [kind, path]:
            getattr(os, kind)(root / path)


def happened(root, operation):
    """Find out whether an operation that failed was applied all the same."""
    match operation:
        case ["create" | "mkdir" | "link", *_, path]:
            return os.path.lexists(root / path)
        case ["unlink" | "rmdir", path] | ["rename", path, _]:
            return not os.path.lexists(root / path)


def wrong_now(root, model, rng):
    """Look at one of the process's own names; return what is wrong with it, or None. Its own changes show at once."""
    if not model.names:
        return None
    path = rng.choice(sorted(model.names))
    what = model.names[path]
    try:
        status = os.lstat(root / path)
    except FileNotFoundError:
        return f"not seen: {path}"
    if stat.S_ISDIR(status.st_mode) != (what == DIRECTORY):
        return f"seen as another type: {path}"
    if what == DIRECTORY:
        below = [other for other, its in model.names.items() if its == DIRECTORY and os.path.dirname(other) == path]
        expected = 2 + len(below)
    else:
        expected = sum(other == what for other in model.names.values())
    if status.st_nlink == expected:
        return None
    kind = DIRECTORY if what == DIRECTORY else "file"
    return f"{status.st_nlink} links seen of a {kind}, not {expected}: {path}"


# ------------------------------------------------------------------------------------------------ journals


@dataclass
class Journal:
    """What a process's journal tells. pauses: (began, took) of each operation; errors: those that surfaced."""

    model: Model
    done: int = 0
    pauses: list = field(default_factory=list)
    errors: list = field(default_factory=list)
    open: list | None = None  # begun, and nothing more is known


def read_journal(path, number):
    """Read a journal; its last line may be torn."""
    journal = Journal(Model(number))
    began = 0.0
    for line in Path(path).read_text().split("\n"):
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if "wrong" in said:
            journal.errors.append(said["wrong"])
            continue
        if "do" in said:
            journal.open, began = said["do"], said["at"]
            continue
        operation, journal.open = journal.open, None
        journal.pauses.append((began, said["took"]))
        if "error" in said:
            journal.errors.append(f"{said['error']} of {operation} after {said['took']:.1f} s")
        if said.get("happened", True):
            journal.model.apply(operation)
            journal.done += "error" not in said
    return journal


@dataclass
class Found:
    """A tree as it is. names: path -> DIRECTORY or inode number; links: inode number -> st_nlink of each."""

    names: dict = field(default_factory=dict)
    links: dict = field(default_factory=dict)
    subdirectories: dict = field(default_factory=dict)  # path -> (st_nlink, how many there are)


def look(root):
    """Look at a whole tree."""
    found = Found()
    for folder, directories, files in os.walk(root):
        place = os.path.relpath(folder, root)
        found.subdirectories[place] = os.stat(folder).st_nlink, len(directories)
        for name in directories:
            found.names[os.path.normpath(f"{place}/{name}")] = DIRECTORY
        for name in files:
            status = os.lstat(f"{folder}/{name}")
            found.names[os.path.normpath(f"{place}/{name}")] = status.st_ino
            found.links[status.st_ino] = status.st_nlink
    return found


def differences(found, journals):
    """Return what is not as the journals have it: lost, unexpected, applied twice, counted wrongly."""
    wrong = []
    expected = {top: DIRECTORY for journal in journals for top in tops(journal.model.number)}
    for journal in journals:
        assert journal.open is None, f"process {journal.model.number} did not end by itself"
        for path, what in journal.model.names.items():
            expected[path] = what if what == DIRECTORY else (journal.model.number, what)
    wrong += [f"lost: {path}" for path in sorted(expected.keys() - found.names.keys())]
    wrong += [f"unexpected: {path}" for path in sorted(found.names.keys() - expected.keys())]
    inodes, names = {}, {}
    for path in sorted(expected.keys() & found.names.keys()):
        what, inode = expected[path], found.names[path]
        if DIRECTORY in (what, inode):
            wrong += [f"of another type: {path}"] * (what != inode)
            continue
        names.setdefault(inode, set()).add(path)
        if inodes.setdefault(what, inode) != inode:
            wrong.append(f"not the file it was: {path}")
    if len(set(inodes.values())) != len(inodes):
        wrong.append("two files have become one")
    for inode, paths in names.items():
        if found.links[inode] != len(paths):
            wrong.append(f"{found.links[inode]} links counted, {len(paths)} there: {sorted(paths)}")
    for path, (nlink, count) in found.subdirectories.items():
        if nlink != 2 + count:
            wrong.append(f"{nlink} links counted of a directory with {count} directories: {path}")
    return wrong


# ------------------------------------------------------------------------------------------------- program


def _tried(root, operation):
    """Perform it; return what the journal is to say of it."""
    began = time.monotonic()
    try:
        perform(root, operation)
    except OSError as error:
        said = {"took": time.monotonic() - began, "error": errno.errorcode.get(error.errno or 0, str(error))}
        return said | {"happened": _looked_up(root, operation)}
    return {"took": time.monotonic() - began}


def _looked_up(root, operation):
    end = time.monotonic() + LOOKING_S
    while True:
        try:
            return happened(root, operation)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def _wrong_now(root, model, rng):
    try:
        return wrong_now(root, model, rng)
    except OSError as error:
        return str(error)


def main():
    """Work until told to stop."""
    root, journal, number = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    rng, model = random.Random(number), Model(number)
    for top in tops(number):
        (root / top).mkdir(exist_ok=True)
    with journal.open("w", buffering=1) as file:
        while not select.select([sys.stdin], [], [], 0)[0]:
            operation = model.plan(rng)
            file.write(json.dumps({"do": operation, "at": time.monotonic()}) + "\n")
            said = _tried(root, operation)
            file.write(json.dumps(said) + "\n")
            if said.get("happened", True):
                model.apply(operation)
            if wrong := _wrong_now(root, model, rng):
                file.write(json.dumps({"wrong": f"{wrong} after {operation}"}) + "\n")


if __name__ == "__main__":
    main()
