"""Lies that a filesystem must not tell, one script each: what they say has no explanation, whatever else goes on.

Each script is one more client in a random history. It uses names of its own in the root, which is never moved, so
nobody else, and no call of unknown outcome, can make a lie true. It returns the ids of the guilty calls: those that
lied, and those whose true answers contradict the lie.
"""

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
from curvefs.test.linearizability.random_histories import Planned
from curvefs.test.linearizability.tree import ROOT

X, Y, Z = "x", "y", "z"


def _always(answer):
    return lambda _: answer


def _listing(*, without=(), with_=()):
    return lambda answer: (OK, (answer[1] - set(without)) | set(with_))


def stale_lookup(files, rng):
    """A name leads to an inode that is gone, or is elsewhere."""
    _, (_, inode) = yield Planned(Create(ROOT, X))
    yield Planned(rng.choice([Unlink(ROOT, X), Rename(ROOT, X, ROOT, Y)]))
    guilty, _ = yield Planned(Lookup(ROOT, X), _always((OK, inode)), client="q")
    return {guilty}


def lost_create(files, rng):
    """A create was acknowledged, and nothing is there."""
    operation, read = rng.choice([Create, Mkdir]), rng.choice([Lookup(ROOT, X), Readdir(ROOT), Unlink(ROOT, X)])
    yield Planned(operation(ROOT, X), _always((OK, files.new_number())), is_lost=True)
    guilty, _ = yield Planned(read, client="q")
    return {guilty}


def applied_twice(files, rng):
    """A request that was sent again was applied again: it fails because of itself, or comes back later."""
    make, remove = rng.choice([(Create, Unlink), (Mkdir, Rmdir)])
    match rng.randrange(4):
        case 0:
            guilty, _ = yield Planned(make(ROOT, X), _always("EEXIST"))
        case 1:
            yield Planned(make(ROOT, X))
            guilty, _ = yield Planned(remove(ROOT, X), _always("ENOENT"))
        case 2:
            yield Planned(make(ROOT, X))
            yield Planned(remove(ROOT, X))
            files.apply(make(ROOT, X))
            guilty, _ = yield Planned(Lookup(ROOT, X), client="q")
        case _:
            yield Planned(make(ROOT, X))
            yield Planned(Rename(ROOT, X, ROOT, Y))
            yield Planned(make(ROOT, X))
            files.apply(Rename(ROOT, X, ROOT, Y))
            guilty, _ = yield Planned(Lookup(ROOT, X), client="q")
    return {guilty}


def rename_seen_half(files, rng):
    """While a rename is under way the name is at neither place, or at both."""
    _, (_, inode) = yield Planned(rng.choice([Create, Mkdir])(ROOT, X))
    yield Planned(Rename(ROOT, X, ROOT, Y), is_held=True)
    match rng.randrange(4):
        case 0:
            guilty, _ = yield Planned(Readdir(ROOT), _listing(without=[X]), client="q")
            return {guilty}
        case 1:
            guilty, _ = yield Planned(Readdir(ROOT), _listing(with_=[Y]), client="q")
            return {guilty}
        case 2:
            first, _ = yield Planned(Lookup(ROOT, X), _always("ENOENT"), client="q")
            second, _ = yield Planned(Lookup(ROOT, Y), client="r")
        case _:
            first, _ = yield Planned(Lookup(ROOT, Y), _always((OK, inode)), client="q")
            second, _ = yield Planned(Lookup(ROOT, X), client="r")
    return {first, second}


def wrong_nlink(files, rng):
    """A link, or a subdirectory, was not counted, or counted twice."""
    if rng.random() < 0.5:
        _, (_, inode) = yield Planned(Create(ROOT, X))
        yield Planned(Link(inode, ROOT, Y))
        lie = FILE, rng.choice([1, 3])
    else:
        _, (_, inode) = yield Planned(Mkdir(ROOT, X))
        yield Planned(Mkdir(inode, Y))
        lie = DIRECTORY, rng.choice([2, 4])
    guilty, _ = yield Planned(Getattr(inode), _always((OK, *lie)), client="q")
    return {guilty}


def unlinked_is_back(files, rng):
    """An unlink was acknowledged, and the name is there again."""
    yield Planned(Create(ROOT, X))
    yield Planned(Unlink(ROOT, X), _always((OK,)), is_lost=True)
    read = rng.choice([Lookup(ROOT, X), Readdir(ROOT), Create(ROOT, X), Unlink(ROOT, X)])
    guilty, _ = yield Planned(read, client="q")
    return {guilty}


def exists_though_free(files, rng):
    """EEXIST for a name that nobody ever used."""
    if rng.random() < 0.5:
        guilty, _ = yield Planned(rng.choice([Create, Mkdir])(ROOT, X), _always("EEXIST"), is_lost=True)
    else:
        _, (_, inode) = yield Planned(Create(ROOT, X))
        guilty, _ = yield Planned(Link(inode, ROOT, Y), _always("EEXIST"), is_lost=True)
    return {guilty}


def against_real_time(files, rng):
    """The order of effects is not that of time: a read sees what came later and not what came earlier."""
    match rng.randrange(3):
        case 0:  # a read from before the create
            yield Planned(Create(ROOT, X))
            guilty, _ = yield Planned(Lookup(ROOT, X), _always("ENOENT"), client="q")
            yield Planned(Lookup(ROOT, X), client="q")
        case 1:  # the second create is there before the first
            yield Planned(Create(ROOT, X))
            yield Planned(Create(ROOT, Y), client="q")
            guilty, _ = yield Planned(Readdir(ROOT), _listing(without=[X]), client="r")
        case _:  # of two renames over one name the first came last
            yield Planned(Create(ROOT, X))
            yield Planned(Create(ROOT, Y))
            yield Planned(Rename(ROOT, X, ROOT, Z), _always((OK,)), is_lost=True)
            yield Planned(Rename(ROOT, Y, ROOT, Z), client="q")
            files.apply(Rename(ROOT, X, ROOT, Z))
            guilty, _ = yield Planned(Lookup(ROOT, Z), client="r")
    return {guilty}


def exchange_seen_half(files, rng):
    """An exchange moved one name and not yet the other: one inode at both, which was never linked."""
    _, (_, inode) = yield Planned(rng.choice([Create, Mkdir])(ROOT, X))
    yield Planned(rng.choice([Create, Mkdir])(ROOT, Y))
    yield Planned(Rename(ROOT, X, ROOT, Y, Flag.EXCHANGE), is_held=True)
    first, _ = yield Planned(Lookup(ROOT, Y), _always((OK, inode)), client="q")
    second, _ = yield Planned(Lookup(ROOT, X), client="r")
    return {first, second}


def unknown_applied_twice(files, rng):
    """Nobody knows if it happened; that it happened twice is one time too many."""
    yield Planned(Create(ROOT, X))
    twice = rng.choice([Unlink(ROOT, X), Rename(ROOT, X, ROOT, Y)])
    yield Planned(twice, is_unanswered=True)
    yield Planned(Create(ROOT, X), client="q")  # so it has happened
    files.apply(twice)
    guilty, _ = yield Planned(rng.choice([Lookup(ROOT, X), Readdir(ROOT)]), client="r")
    return {guilty}


def unknown_seen_and_gone(files, rng):
    """What a call of unknown outcome made was seen, and then nobody removed it."""
    yield Planned(rng.choice([Create, Mkdir])(ROOT, X), is_unanswered=True)
    yield Planned(rng.choice([Lookup(ROOT, X), Readdir(ROOT)]), client="q")
    if rng.random() < 0.5:
        guilty, _ = yield Planned(Lookup(ROOT, X), _always("ENOENT"), client="r")
        return {guilty}
    yield Planned(Lookup(ROOT, X), client="q")
    guilty, _ = yield Planned(Lookup(ROOT, X), _always((OK, files.new_number())), client="r")
    return {guilty}


KINDS = [
    stale_lookup,
    lost_create,
    applied_twice,
    rename_seen_half,
    wrong_nlink,
    unlinked_is_back,
    exists_though_free,
    against_real_time,
    exchange_seen_half,
    unknown_applied_twice,
    unknown_seen_and_gone,
]
