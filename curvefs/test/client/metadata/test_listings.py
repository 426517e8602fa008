"""Directories whose names are looked up one after the other are listed instead."""

import stat
from collections import Counter

import pytest
import trio

from curvefs.src.client.metadata.listings import (
    ASKED_MIN,
    DIRECTORIES_MAX,
    ENTRIES_MAX,
    ENTRIES_PER_ASKED,
    WINDOW_S,
    Siblings,
)
from curvefs.src.common.errors import NotFound

from .lab import ROOT, running

FILE = stat.S_IFREG | 0o644
COUNT = 100


def asked(siblings, times, now=0.0, directory=1):
    for _ in range(times):
        siblings.found(directory, now)
    return siblings


def test_a_directory_is_worth_listing_once_enough_of_its_names_were_asked_for():
    few = asked(Siblings(), ASKED_MIN - 1)
    assert not few.worth_listing(1, 0, 0.0)
    few.found(1, 0.5)
    assert not few.worth_listing(2, 0, 0.5)
    assert few.worth_listing(1, ASKED_MIN * ENTRIES_PER_ASKED, 0.5)
    assert not few.worth_listing(1, 0, 0.5), "once"


def test_the_larger_it_is_the_more_must_be_asked_for():
    entries = 4 * ASKED_MIN * ENTRIES_PER_ASKED
    assert not asked(Siblings(), 4 * ASKED_MIN - 1).worth_listing(1, entries, 0.0)
    assert asked(Siblings(), 4 * ASKED_MIN).worth_listing(1, entries, 0.0)
    assert not asked(Siblings(), 100_000).worth_listing(1, ENTRIES_MAX + 1, 0.0)


def test_only_what_was_asked_for_lately_counts():
    siblings = asked(Siblings(), ASKED_MIN)
    assert not siblings.worth_listing(1, 0, WINDOW_S + 0.1)
    siblings.found(1, WINDOW_S + 0.1)
    assert not siblings.worth_listing(1, 0, WINDOW_S + 0.1)


def test_directories_asked_about_longest_ago_are_forgotten():
    siblings = asked(Siblings(), ASKED_MIN, directory=0)
    for directory in range(1, DIRECTORIES_MAX + 1):
        siblings.found(directory, 0.0)
    assert not siblings.worth_listing(0, 0, 0.0)
    assert len(siblings._asked) == DIRECTORIES_MAX


def make_files(lab):
    return [lab.servers.namespace.make(ROOT, b"%03d" % n, FILE, 0) for n in range(COUNT)]


@pytest.mark.trio
async def test_names_are_asked_for_until_the_directory_is_listed(autojump_clock):
    async with running({1: [0], 2: [1]}) as lab:
        made = make_files(lab)
        await lab.metadata.reads.get_attr(ROOT)  # as the kernel does on its way
        lab.servers.reads.clear()
        found = [(await lab.metadata.reads.lookup(ROOT, b"%03d" % n)).inode_id for n in range(COUNT)]
        assert found == made
        assert lab.servers.reads == Counter(lookup=ASKED_MIN, read_dir=1)
        with pytest.raises(NotFound):
            await lab.metadata.reads.lookup(ROOT, b"x")
        assert lab.servers.reads["lookup"] == ASKED_MIN
        await trio.sleep(1.1)
        lab.servers.namespace.remove(ROOT, b"000")
        with pytest.raises(NotFound):
            await lab.metadata.reads.lookup(ROOT, b"000")
        assert lab.servers.reads["lookup"] == ASKED_MIN + 1, "what was listed is old"


@pytest.mark.trio
async def test_who_waits_for_a_name_to_appear_goes_on_asking(autojump_clock):
    async with running({1: [0], 2: [1]}) as lab:
        make_files(lab)
        await lab.metadata.reads.get_attr(ROOT)
        for _ in range(10 * ASKED_MIN):
            with pytest.raises(NotFound):
                await lab.metadata.reads.lookup(ROOT, b"soon")
        assert lab.servers.reads["read_dir"] == 0


@pytest.mark.trio
async def test_a_directory_that_changes_while_it_is_listed_is_asked_name_by_name(autojump_clock):
    async with running({1: [0], 2: [1]}) as lab:
        made = make_files(lab)
        await lab.metadata.reads.get_attr(ROOT)

        def replace(read):
            if read.WhichOneof("read") == "read_dir":
                lab.servers.namespace.remove(ROOT, b"099")
                made[99] = lab.servers.namespace.make(ROOT, b"099", FILE, 0)

        lab.servers.on_read = replace
        found = [(await lab.metadata.reads.lookup(ROOT, b"%03d" % n)).inode_id for n in range(COUNT)]
        assert found == made
