"""The model answers as Linux does, and keeps track of inodes whose numbers nobody has told."""

import errno
import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curvefs.test.linearizability import tree
from curvefs.test.linearizability.checker import check
from curvefs.test.linearizability.history import UNKNOWN, Call
from curvefs.test.linearizability.namespace import Namespace
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
from curvefs.test.linearizability.random_histories import Filesystem, random_history
from curvefs.test.linearizability.tree import ROOT
from curvefs.test.support.calls import renameat2

MODEL = Namespace()

# What every case begins with: 1/ {d: 2/ {e: 3/ {}, f: 4}, g: 4, h: 5, i: 6/ {}}; 7, a directory, and 8, a file, are
# gone.
START = [
    Mkdir(1, "d"),
    Mkdir(2, "e"),
    Create(2, "f"),
    Create(1, "h"),
    Mkdir(1, "i"),
    Mkdir(1, "j"),
    Create(1, "k"),
    Link(4, 1, "g"),
    Rmdir(1, "j"),
    Unlink(1, "k"),
]


def after(*operations):
    """The state after these, with numbers from 2 on."""
    state, number = MODEL.initial(), 2
    for operation in operations:
        answer, state = MODEL.run(state, operation, number)
        assert answer[0] == OK
        number += isinstance(operation, Create | Mkdir)
    return state


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        (Create(1, "n"), (OK, 9)),
        (Create(1, "h"), "EEXIST"),
        (Create(1, "d"), "EEXIST"),
        (Create(5, "n"), "ENOTDIR"),
        (Create(7, "n"), "ENOENT"),
        (Create(1, "h", exclusive=False), (OK, 5)),
        (Create(1, "d", exclusive=False), "EISDIR"),
        (Mkdir(2, "n"), (OK, 9)),
        (Mkdir(2, "f"), "EEXIST"),
        (Mkdir(7, "n"), "ENOENT"),
        (Link(4, 2, "n"), (OK, 3)),
        (Link(4, 2, "f"), "EEXIST"),
        (Link(3, 1, "n"), "EPERM"),
        (Link(3, 1, "h"), "EEXIST"),
        (Link(8, 1, "n"), "ENOENT"),
        (Link(4, 7, "n"), "ENOENT"),
        (Link(4, 5, "n"), "ENOTDIR"),
        (Unlink(1, "h"), (OK,)),
        (Unlink(1, "n"), "ENOENT"),
        (Unlink(1, "i"), "EISDIR"),
        (Unlink(5, "n"), "ENOTDIR"),
        (Rmdir(1, "i"), (OK,)),
        (Rmdir(1, "n"), "ENOENT"),
        (Rmdir(1, "h"), "ENOTDIR"),
        (Rmdir(1, "d"), "ENOTEMPTY"),
        (Rename(1, "h", 2, "n"), (OK,)),
        (Rename(1, "n", 1, "h"), "ENOENT"),
        (Rename(1, "g", 2, "f"), (OK,)),
        (Rename(1, "h", 7, "n"), "ENOENT"),
        (Rename(7, "h", 5, "n"), "ENOTDIR"),
        (Rename(1, "d", 2, "n"), "EINVAL"),
        (Rename(1, "d", 3, "n"), "EINVAL"),
        (Rename(1, "d", 1, "d"), (OK,)),
        (Rename(2, "e", 1, "d"), "ENOTEMPTY"),
        (Rename(2, "f", 1, "d"), "ENOTEMPTY"),
        (Rename(1, "i", 1, "d"), "ENOTEMPTY"),
        (Rename(1, "d", 1, "i"), (OK,)),
        (Rename(1, "h", 1, "i"), "EISDIR"),
        (Rename(1, "i", 1, "h"), "ENOTDIR"),
        (Rename(1, "h", 1, "g", Flag.NOREPLACE), "EEXIST"),
        (Rename(1, "g", 2, "f", Flag.NOREPLACE), "EEXIST"),
        (Rename(1, "n", 1, "g", Flag.NOREPLACE), "ENOENT"),
        (Rename(1, "d", 2, "f", Flag.NOREPLACE), "EEXIST"),
        (Rename(1, "h", 1, "n", Flag.NOREPLACE), (OK,)),
        (Rename(1, "h", 1, "n", Flag.EXCHANGE), "ENOENT"),
        (Rename(1, "h", 1, "d", Flag.EXCHANGE), (OK,)),
        (Rename(1, "d", 2, "e", Flag.EXCHANGE), "EINVAL"),
        (Rename(2, "e", 1, "d", Flag.EXCHANGE), "EINVAL"),
        (Rename(1, "g", 2, "f", Flag.EXCHANGE), (OK,)),
        (Lookup(1, "h"), (OK, 5, FILE, 1)),
        (Lookup(1, "d"), (OK, 2, DIRECTORY, 3)),
        (Lookup(1, "n"), "ENOENT"),
        (Lookup(5, "n"), "ENOTDIR"),
        (Lookup(7, "n"), "ENOENT"),
        (Getattr(4), (OK, FILE, 2)),
        (Getattr(1), (OK, DIRECTORY, 4)),
        (Getattr(7), "ENOENT"),
        (Getattr(8), "ENOENT"),
        (Getattr(99), "ENOENT"),
        (Readdir(2), (OK, frozenset("ef"))),
        (Readdir(5), "ENOTDIR"),
        (Readdir(7), "ENOENT"),
    ],
    ids=lambda part: part[0] if type(part) is tuple else str(part),
)
def test_each_answer_and_no_other(operation, answer):
    state = after(*START)
    assert MODEL.run(state, operation, 9)[0] == answer
    assert len(MODEL.step(state, operation, answer)) == 1
    for other in ["ENOENT", "EEXIST", "EISDIR", "ENOTDIR", "ENOTEMPTY", "EINVAL", "EPERM", "EIO"]:
        assert bool(MODEL.step(state, operation, other)) is (other == answer)
    if answer[0] == OK:
        for end in range(1, len(answer)):
            assert len(MODEL.step(state, operation, answer[:end])) == 1  # facts may be left out
            wrong = (*answer[:end], frozenset("z") if isinstance(operation, Readdir) else 8)
            assert not MODEL.step(state, operation, wrong)
    else:
        assert not MODEL.step(state, operation, (OK,))


def test_what_is_gone_may_also_be_stale():
    state = after(*START)
    for operation in (Getattr(7), Lookup(7, "n"), Create(7, "n"), Link(8, 1, "n")):
        assert MODEL.step(state, operation, "ESTALE")
    assert not MODEL.step(state, Lookup(1, "n"), "ESTALE")


@pytest.mark.parametrize(
    ("operation", "errors"),
    [
        (Rename(2, "f", 1, "d"), {"ENOTEMPTY", "EISDIR"}),
        (Rename(1, "d", 2, "f"), {"EINVAL", "ENOTDIR"}),
        (Rename(1, "n", 1, "h", Flag.NOREPLACE), {"ENOENT", "EEXIST"}),
        (Link(3, 1, "h"), {"EEXIST", "EPERM"}),
        (Rename(1, "h", 1, "i"), {"EISDIR"}),
        (Lookup(1, "h"), set()),
    ],
    ids=lambda one: "-".join(sorted(one)) if isinstance(one, set) else str(one),
)
def test_any_error_whose_condition_holds_will_do_if_so_wished(operation, errors):
    model = Namespace(any_error=True)
    every = {"ENOENT", "EEXIST", "EISDIR", "ENOTDIR", "ENOTEMPTY", "EINVAL", "EPERM"}
    assert {error for error in every if model.step(after(*START), operation, error)} == errors


# ---------------------------------------------------------------------------- inodes of unknown number


def test_a_lookup_tells_the_number_of_what_was_made_by_a_call_of_unknown_outcome():
    [state] = MODEL.step(MODEL.initial(), Mkdir(ROOT, "a"), UNKNOWN)
    assert MODEL.step(state, Lookup(ROOT, "a"), (OK, 7, FILE)) == ()
    [state] = MODEL.step(state, Lookup(ROOT, "a"), (OK, 7, DIRECTORY, 2))
    assert state == MODEL.run(MODEL.initial(), Mkdir(ROOT, "a"), 7)[1]
    assert MODEL.step(state, Lookup(ROOT, "a"), (OK, 8)) == ()
    assert MODEL.step(state, Create(ROOT, "b"), (OK, 7)) == ()


def test_a_number_that_was_used_is_not_used_again():
    state = after(Create(ROOT, "a"), Unlink(ROOT, "a"))
    assert MODEL.step(state, Create(ROOT, "a"), (OK, 2)) == ()
    [state] = MODEL.step(state, Create(ROOT, "a"), UNKNOWN)
    assert MODEL.step(state, Lookup(ROOT, "a"), (OK, 2)) == ()
    assert len(MODEL.step(state, Lookup(ROOT, "a"), (OK, 3))) == 1


def test_a_request_may_mean_any_inode_of_unknown_number():
    [state] = MODEL.step(MODEL.initial(), Mkdir(ROOT, "a"), UNKNOWN)
    [state] = MODEL.step(state, Create(ROOT, "b"), UNKNOWN)
    [as_directory] = MODEL.step(state, Getattr(9), (OK, DIRECTORY, 2))
    assert as_directory.find(ROOT, "a") == 9
    [as_file] = MODEL.step(state, Getattr(9), (OK, FILE, 1))
    assert as_file.find(ROOT, "b") == 9
    assert MODEL.step(state, Getattr(9), "ENOENT") == (state,)


def test_what_was_made_and_removed_without_a_number_leaves_no_trace():
    state = after(Create(ROOT, "z"))
    for operation in (Create(ROOT, "a"), Rename(ROOT, "a", ROOT, "b"), Create(ROOT, "a"), Unlink(ROOT, "a")):
        [state] = MODEL.step(state, operation, UNKNOWN)
    [state] = MODEL.step(state, Unlink(ROOT, "b"), UNKNOWN)
    assert state == after(Create(ROOT, "z"))


def test_an_unknown_outcome_of_what_would_be_refused_changes_nothing():
    state = after(*START)
    assert MODEL.step(state, Rmdir(1, "d"), UNKNOWN) == (state,)


# ------------------------------------------------------------------------------------- against others


def operations(rng, numbers, files):
    """Random operations on these inodes, with few names."""
    while True:
        name, new_name = rng.choice("abc"), rng.choice("abc")
        parent, new_parent = rng.choice(numbers), rng.choice(numbers)
        yield rng.choice(
            [
                Create(parent, name),
                Mkdir(parent, name),
                Mkdir(parent, name),
                Link(rng.choice(files or numbers), parent, name),
                Unlink(parent, name),
                Rmdir(parent, name),
                Rename(parent, name, new_parent, new_name, rng.choice(list(Flag))),
                Rename(parent, name, new_parent, new_name),
                Rename(parent, name, new_parent, new_name),
                Lookup(parent, name),
                Getattr(parent),
                Readdir(parent),
            ]
        )


class LocalFilesystem:
    """A local folder, asked by inode numbers: a descriptor of each inode stays open, so that no number comes again."""

    def __init__(self, folder):
        self._descriptors = {}
        self.root = self._hold(folder)
        before = os.stat(folder).st_nlink
        os.mkdir(folder / "probe")
        self._counts = os.stat(folder).st_nlink == before + 1  # some local filesystems always say 1 for a directory
        os.rmdir(folder / "probe")

    def close(self):
        for descriptor in self._descriptors.values():
            os.close(descriptor)

    def apply(self, operation):
        try:
            return (OK, *getattr(self, type(operation).__name__.lower())(operation))
        except OSError as error:
            return errno.errorcode[error.errno or 0]

    def create(self, operation):
        path = self._path(operation.parent, operation.name)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDONLY))
        return (self._hold(path),)

    def mkdir(self, operation):
        path = self._path(operation.parent, operation.name)
        os.mkdir(path)
        return (self._hold(path),)

    def link(self, operation):
        folder = os.open(self._path(operation.new_parent), os.O_PATH)  # makes Python follow the link to the inode
        try:
            os.link(self._path(operation.inode), operation.new_name, dst_dir_fd=folder)
        finally:
            os.close(folder)
        return (os.fstat(self._descriptors[operation.inode]).st_nlink,)

    def unlink(self, operation):
        os.unlink(self._path(operation.parent, operation.name))
        return ()

    def rmdir(self, operation):
        os.rmdir(self._path(operation.parent, operation.name))
        return ()

    def rename(self, operation):
        old = self._path(operation.parent, operation.name)
        renameat2(old, self._path(operation.new_parent, operation.new_name), operation.flag.value)
        return ()

    def lookup(self, operation):
        return os.stat(self._path(operation.parent, operation.name)).st_ino, *self._facts(
            os.stat(self._path(operation.parent, operation.name))
        )

    def getattr(self, operation):
        found = os.fstat(self._descriptors[operation.inode])
        if not found.st_nlink:
            raise FileNotFoundError(errno.ENOENT, "it is gone")
        return self._facts(found)

    def readdir(self, operation):
        if not os.fstat(self._descriptors[operation.parent]).st_nlink:
            raise FileNotFoundError(errno.ENOENT, "it is gone")  # glibc calls it the end of the listing
        return (frozenset(os.listdir(self._path(operation.parent))),)

    def is_directory(self, number):
        return os.path.isdir(self._path(number))

    def _facts(self, found):
        if found.st_mode & 0o170000 != 0o040000:
            return FILE, found.st_nlink
        return (DIRECTORY, found.st_nlink) if self._counts else (DIRECTORY,)

    def _hold(self, path):
        descriptor = os.open(path, os.O_RDONLY)
        number = os.fstat(descriptor).st_ino
        assert number not in self._descriptors
        self._descriptors[number] = descriptor
        return number

    def _path(self, number, *name):
        return os.path.join(f"/proc/self/fd/{self._descriptors[number]}", *name)


@pytest.mark.parametrize("seed", range(12))
def test_the_model_answers_as_the_local_filesystem(seed, tmp_path):
    rng = random.Random(seed)
    local = LocalFilesystem(tmp_path)
    model = Namespace(tree.empty(local.root))
    state = model.initial()
    numbers, files, answers = [local.root], list[int](), set()
    for _, operation in zip(range(400), operations(rng, numbers, files), strict=False):
        answer = local.apply(operation)
        following = model.step(state, operation, answer)
        assert len(following) == 1, f"{operation} -> {answer}, expected {model.expected(state, operation)} in\n{state}"
        [state] = following
        answers.add(answer if isinstance(answer, str) else OK)
        if answer[0] == OK and isinstance(operation, Create | Mkdir):
            # A file's number is used as a directory's too, but not when it is gone: a descriptor still tells its type.
            (files if isinstance(operation, Create) else numbers).append(answer[1])
            del numbers[1:-7], files[:-4]
    local.close()
    assert answers >= {OK, "ENOENT", "EEXIST", "EISDIR", "ENOTDIR", "ENOTEMPTY", "EINVAL"}


@pytest.mark.parametrize("seed", range(20))
def test_the_model_answers_as_the_filesystem_of_random_histories(seed):
    rng = random.Random(seed)
    files, model = Filesystem(), Namespace()
    state = model.initial()
    numbers = list(range(1, 12))
    for _, operation in zip(range(400), operations(rng, numbers, []), strict=False):
        answer = files.apply(operation)
        following = model.step(state, operation, answer)
        assert len(following) == 1, f"{operation} -> {answer}, expected {model.expected(state, operation)} in\n{state}"
        [state] = following


def test_the_hash_is_that_of_the_names_whatever_the_way():
    """The hash moves by what changes; it must come out as if it had been made anew."""
    for seed in range(10):
        rng = random.Random(seed)
        state, number = MODEL.initial(), 2
        for _, operation in zip(range(300), operations(rng, list(range(1, 40)), []), strict=False):
            told = number if rng.random() < 0.7 else None
            _, state = MODEL.run(state, operation, told)
            number += 1
            anew = state.numbered("no placeholder", 0)
            assert (anew, hash(anew)) == (state, hash(state))
            assert (anew.files, anew.parents) == (state.files, state.parents)


# --------------------------------------------------------------------------------------- properties

_names = st.sampled_from("ab")
_parents = st.integers(1, 4)
_operations = st.one_of(
    st.builds(Create, _parents, _names, st.booleans()),
    st.builds(Mkdir, _parents, _names),
    st.builds(Link, st.integers(1, 6), _parents, _names),
    st.builds(Unlink, _parents, _names),
    st.builds(Rmdir, _parents, _names),
    st.builds(Rename, _parents, _names, _parents, _names, st.sampled_from(Flag)),
    st.builds(Lookup, _parents, _names),
    st.builds(Getattr, st.integers(1, 6)),
    st.builds(Readdir, _parents),
)


def sequential(asked):
    """Return the history of one client that asks these of the model. Each: (operation, is it answered)."""
    state, calls, number = MODEL.initial(), [], 2
    for place, (operation, is_answered) in enumerate(asked):
        answer, following = MODEL.run(state, operation, number)
        number += following is not state and isinstance(operation, Create | Mkdir)
        state = following
        ended = (2 * place + 1, answer) if is_answered else ()
        calls.append(Call(1, place, operation, 2 * place, *ended))
    return calls


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(_operations, st.just(True)), max_size=40))
def test_a_sequential_history_of_the_model_is_accepted(asked):
    calls = sequential(asked)
    result = check(MODEL, calls, bound=100_000)
    assert result.ok, result
    assert list(result.order) == calls


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(_operations, st.booleans()), max_size=20))
def test_it_is_accepted_too_when_some_answers_are_lost(asked):
    result = check(MODEL, sequential(asked), bound=100_000)
    assert result.ok, result


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(_operations, st.just(True)), min_size=1, max_size=20), st.data())
def test_a_wrong_answer_at_the_end_of_a_sequential_history_is_found(asked, data):
    *calls, last = sequential(asked)
    right = last.answer
    wrong = data.draw(st.sampled_from([error for error in ("ENOENT", "EEXIST", "ENOTEMPTY", "EIO") if error != right]))
    result = check(MODEL, [*calls, Call(1, "last", last.operation, last.began, last.ended, wrong)], bound=100_000)
    assert [call.id for call in result.blocked] == ["last"]


def test_random_histories_have_every_kind_of_answer():
    """They would prove little if most calls failed, or if nothing ever overlapped."""
    answers: dict[type, set[str]] = {}
    overlapping, total = 0, 0
    for seed in range(10):
        history = random_history(seed)
        assert len(history) == 300
        assert sum(call.ended is None for call in history) == 20
        for call in history:
            outcome = "lost" if call.ended is None else "ok" if call.answer[0] == OK else "refused"
            answers.setdefault(type(call.operation), set()).add(outcome)
            if call.ended is not None:
                total += 1
                overlapping += sum(one.began < call.began < (one.ended or 0) for one in history)
    assert all(found == {"lost", "ok", "refused"} for found in answers.values())
    assert len(answers) == 9
    assert overlapping / total > 3
