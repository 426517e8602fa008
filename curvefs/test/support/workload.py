"""A workload whose every acknowledged operation is known, and a checker of what must be there afterwards.

Each worker has a directory of its own and writes down, in a file outside the filesystem, what it is about to do and
then that it was done. So whenever something dies: what was done must be there and whole; what was begun may have
happened or not, but not half; nothing else may be there.

    {"do": [kind, ...]}    about to
    {"done": true}         it returned

As a program: ``python -m curvefs.test.support.workload DIRECTORY LOGFILE SEED [COUNT]``; ends at the first error (exit
1), after COUNT operations, or without COUNT when its standard input ends.
"""

import itertools
import json
import os
import random
import select
import sys
from dataclasses import dataclass, field
from pathlib import Path

DIRECTORY = "directory"


def content(seed, size):
    """The bytes of a file, from two numbers that fit a log line."""
    return random.Random(seed).randbytes(size)


def plan(rng, model):
    """Choose an operation that succeeds on this model: a dictionary of name -> [seed, size], target or DIRECTORY."""
    files = [name for name, value in model.items() if isinstance(value, list)]
    directories = [name for name, value in model.items() if value == DIRECTORY]
    fresh = f"n{rng.randrange(10**9)}"
    match rng.randrange(10):
        case 0 | 1 | 2 | 3:
            return ["write", fresh, rng.randrange(10**9), rng.choice([0, 10, 5_000, 70_000, 600_000])]
        case 4 if files:  # over a file that is there
            return ["replace", rng.choice(files), rng.randrange(10**9), rng.randrange(1, 20_000)]
        case 5 if files:
            return ["rename", rng.choice(files), fresh]
        case 6 if len(files) > 1:
            return ["rename", *rng.sample(files, 2)]
        case 7 if files:
            return ["unlink", rng.choice(files)]
        case 8:
            return ["symlink", fresh, f"target-{fresh}"]
        case 9 if directories and rng.randrange(2):
            return ["rmdir", rng.choice(directories)]
        case 9:
            return ["mkdir", fresh]
        case _:
            return ["write", fresh, rng.randrange(10**9), 100]


def note(model, operation):
    """Apply an operation to the model."""
    match operation:
        case ["write" | "replace", name, seed, size]:
            model[name] = [seed, size]
        case ["rename", old, new]:
            model[new] = model.pop(old)
        case ["unlink" | "rmdir", name]:
            del model[name]
        case ["symlink", name, target]:
            model[name] = target
        case ["mkdir", name]:
            model[name] = DIRECTORY


def perform(root, operation):
    """Apply an operation to the filesystem. A write ends with a close, every other one also with an fsync before it."""
    match operation:
        case ["write", name, seed, size]:
            descriptor = os.open(root / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            try:
                left = memoryview(content(seed, size))
                while left:
                    left = left[os.write(descriptor, left) :]
                if seed % 2:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
        case ["replace", name, seed, size]:  # as careful programs do: beside it, synced, renamed
            perform(root, ["write", f".{name}.new", seed | 1, 0])
            with open(root / f".{name}.new", "wb") as file:
                file.write(content(seed, size))
                file.flush()
                os.fsync(file.fileno())
            os.rename(root / f".{name}.new", root / name)
        case ["rename", old, new]:
            os.rename(root / old, root / new)
        case ["unlink", name]:
            os.unlink(root / name)
        case ["rmdir", name]:
            os.rmdir(root / name)
        case ["symlink", name, target]:
            os.symlink(target, root / name)
        case ["mkdir", name]:
            os.mkdir(root / name)


@dataclass
class Story:
    """What a worker's log tells: the model after what was done, and the one operation that was only begun."""

    model: dict = field(default_factory=dict)
    begun: list | None = None
    done_count: int = 0


def read_story(log_file):
    """Read a worker's log; its last line may be torn."""
    story = Story()
    for line in Path(log_file).read_text().split("\n"):
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if "do" in said:
            story.begun = said["do"]
        else:
            note(story.model, story.begun)
            story.begun = None
            story.done_count += 1
    return story


def look(root):
    """Return what is in a worker's directory, contents included."""
    found = {}
    for entry in os.scandir(root):
        if entry.is_symlink():
            found[entry.name] = os.readlink(entry.path)
        elif entry.is_dir():
            found[entry.name] = DIRECTORY
        else:
            found[entry.name] = Path(entry.path).read_bytes()
            assert len(found[entry.name]) == entry.stat().st_size, entry.name
    return found


def check(root, story):
    """Compare a worker's directory with its story. Raises AssertionError that names what is wrong."""
    found = look(root)
    with_begun = dict(story.model)
    if story.begun is not None:
        note(with_begun, story.begun)
    touched = set()
    match story.begun:
        case ["write", name, seed, size]:
            touched = {name}
            # Not acknowledged and not one operation: absent, or a beginning of it.
            assert name not in found or content(seed, size).startswith(found[name]), f"{name} is neither old nor new"
        case ["replace", name, *_]:
            touched = {f".{name}.new"}
        case _:
            pass
    for model in (story.model, with_begun):
        expected = {name: _expand(value) for name, value in model.items() if name not in touched}
        if expected == {name: value for name, value in found.items() if name not in touched}:
            return
    old = {name: _expand(value) for name, value in story.model.items()}
    wrong = {name: _short(found.get(name)) for name in old if found.get(name) != old[name]}
    more = sorted(set(found) - set(old) - touched)
    raise AssertionError(f"after {story.done_count} operations, begun {story.begun}: wrong {wrong}, unexpected {more}")


def _expand(value):
    return content(*value) if isinstance(value, list) else value


def _short(value):
    return f"{len(value)} bytes, {value[:12]!r}..." if isinstance(value, bytes) else value


def main():
    """Work until told to stop."""
    root, log_file, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    count = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    rng, model = random.Random(seed), {}
    root.mkdir(exist_ok=True)
    with open(log_file, "w", buffering=1) as log:
        for number in itertools.count():
            if number >= count if count else select.select([sys.stdin], [], [], 0)[0]:
                return
            operation = plan(rng, model)
            log.write(json.dumps({"do": operation}) + "\n")
            try:
                perform(root, operation)
            except OSError as error:
                sys.exit(f"{operation}: {error}")
            log.write(json.dumps({"done": True}) + "\n")
            note(model, operation)


if __name__ == "__main__":
    main()
