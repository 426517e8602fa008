"""Reads over several partitions: how many requests they take, and what comes of races with changes."""

import stat
from collections import Counter

import pytest
import trio

from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.client.vfs.directories import DirectoryHandle, entries_after
from curvefs.src.common.errors import IOFailure, NotFound, StaleHandle
from curvefs.src.common.ids import partition_of

from .lab import ROOT, C, running

pytestmark = pytest.mark.trio

FILE, DIRECTORY = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755
GROUPS = {1: [0], 2: [1], 3: [2]}


def make_spread(lab, count):
    """Make directories below the root, in partitions 0, 1 and 2 in turn."""
    return [lab.servers.namespace.make(ROOT, b"%03d" % n, DIRECTORY, n % 3) for n in range(count)]


async def test_a_child_in_its_parents_partition_takes_one_request(autojump_clock):
    async with running(GROUPS) as lab:
        make_spread(lab, 3)
        assert (await lab.metadata.reads.lookup(ROOT, b"000")).nlink == 2
        assert lab.servers.reads == Counter(lookup=1)


async def test_a_child_elsewhere_takes_two_requests_and_then_none(autojump_clock):
    async with running(GROUPS) as lab:
        make_spread(lab, 3)
        for _ in range(3):
            inode = await lab.metadata.reads.lookup(ROOT, b"002")
            assert (partition_of(inode.inode_id), inode.nlink, inode.change) == (2, 2, 1)
        assert lab.servers.reads == Counter(lookup=1, get_attr=1)


async def test_a_child_that_is_replaced_between_the_two_answers_is_looked_up_again(autojump_clock):
    async with running(GROUPS) as lab:
        (old,) = [lab.servers.namespace.make(ROOT, b"x", FILE, 1)]
        replaced = []

        def replace(read):
            if read.WhichOneof("read") == "get_attr" and not replaced:
                lab.servers.namespace.remove(ROOT, b"x")
                replaced.append(lab.servers.namespace.make(ROOT, b"x", FILE, 2))

        lab.servers.on_read = replace
        inode = await lab.metadata.reads.lookup(ROOT, b"x")
        assert [inode.inode_id] == replaced != [old]


async def test_a_child_that_is_removed_between_the_two_answers_is_absent(autojump_clock):
    async with running(GROUPS) as lab:
        lab.servers.namespace.make(ROOT, b"x", FILE, 1)

        def remove(read):
            if read.WhichOneof("read") == "get_attr":
                lab.servers.namespace.remove(ROOT, b"x")

        lab.servers.on_read = remove
        with pytest.raises(NotFound):
            await lab.metadata.reads.lookup(ROOT, b"x")


async def test_a_name_whose_inode_is_never_there_ends_in_an_error(autojump_clock):
    async with running(GROUPS) as lab:
        inode_id = lab.servers.namespace.make(ROOT, b"x", FILE, 1)

        def hide(read):
            kind = read.WhichOneof("read")
            if kind == "get_attr":
                lab.servers.namespace.inodes.pop(inode_id, None)
            elif kind == "lookup":
                lab.servers.namespace.inodes[inode_id] = pb.Inode(inode_id=inode_id, mode=FILE)

        lab.servers.on_read = hide
        with pytest.raises(IOFailure):
            await lab.metadata.reads.lookup(ROOT, b"x")
        assert lab.servers.reads["lookup"] < 20


async def test_a_listing_asks_each_partition_once(autojump_clock):
    async with running(GROUPS) as lab:
        made = make_spread(lab, 90)
        began = trio.current_time()
        page = await lab.metadata.reads.read_dir(ROOT, 0, b"", limit=1000, generation=1)
        assert [entry.inode.inode_id for entry in page.entries] == made
        assert (page.end, page.as_read) == (True, True)
        batches = [(group, Counter(kinds)) for group, kinds in lab.servers.read_batches]
        assert sorted(batches, key=lambda batch: batch[0]) == [
            (1, Counter(read_dir=1)),
            (2, Counter(get_attr=30)),
            (3, Counter(get_attr=30)),
        ]
        assert trio.current_time() - began < 0.013, "at the same time"
        await lab.metadata.reads.read_dir(ROOT, 0, b"", limit=1000, generation=2)
        assert lab.servers.reads == Counter(read_dir=2, get_attr=60), "known attributes are not asked for"


async def test_a_listing_without_foreign_entries_is_one_request(autojump_clock):
    async with running(GROUPS) as lab:
        for number in range(10):
            lab.servers.namespace.make(ROOT, b"%d" % number, FILE)
        await lab.metadata.reads.read_dir(ROOT, 0, b"", limit=1000, generation=1)
        assert lab.servers.reads == Counter(read_dir=1)


async def test_entries_that_vanish_meanwhile_are_left_without_attributes_and_replaced_ones_are_not(autojump_clock):
    async with running(GROUPS) as lab:
        namespace = lab.servers.namespace
        for number in range(6):
            namespace.make(ROOT, b"%d" % number, FILE, 1)
        news = {}

        def change(read):
            if read.WhichOneof("read") == "get_attr" and not news:
                for name in (b"0", b"1", b"2"):
                    namespace.remove(ROOT, name)
                news[b"1"] = namespace.make(ROOT, b"1", FILE, 2)
                news[b"2"] = namespace.make(ROOT, b"2", FILE, 0)

        lab.servers.on_read = change
        page = await lab.metadata.reads.read_dir(ROOT, 0, b"", limit=1000, generation=1)
        assert [entry.name for entry in page.entries] == [b"%d" % number for number in range(6)]
        assert [entry.HasField("inode") for entry in page.entries] == [False, True, True, True, True, True]
        assert [page.entries[n].inode.inode_id for n in (1, 2)] == [news[b"1"], news[b"2"]]
        assert not page.as_read
        assert lab.servers.reads == Counter(read_dir=1, get_attr=7, lookup=3)
        kinds = [kinds for _, kinds in lab.servers.read_batches]
        assert kinds.count(["lookup"] * 3) == 1, "all names by one request"
        with pytest.raises(NotFound):
            await lab.metadata.reads.lookup(ROOT, b"0")


@pytest.mark.parametrize("change", ["nothing", "a foreign entry"])
async def test_a_listing_read_whole_answers_absent_names_unless_it_changed(autojump_clock, change):
    async with running(GROUPS) as lab:
        for number in range(5):
            lab.servers.namespace.make(ROOT, b"%d" % number, FILE, 1)
        if change != "nothing":
            removed = []

            def remove(read):
                if read.get_attr.inode_id > ROOT and not removed:
                    removed.append(lab.servers.namespace.remove(ROOT, b"3"))

            lab.servers.on_read = remove
        handle = DirectoryHandle(ROOT)
        await lab.metadata.reads.get_attr(ROOT)
        cursor = 2
        while entries := await entries_after(handle, cursor, lab.metadata):
            cursor = entries[-1].hash
        before = lab.servers.reads["lookup"]
        with pytest.raises(NotFound):
            await lab.metadata.reads.lookup(ROOT, b"absent")
        assert lab.servers.reads["lookup"] - before == (change != "nothing")


async def test_an_answer_older_than_an_own_change_is_not_kept(autojump_clock):
    async with running(GROUPS) as lab:
        lab.servers.namespace.make(ROOT, b"x", FILE)
        await lab.metadata.reads.get_attr(ROOT)
        lab.cache.changed_directory(
            pb.Inode(inode_id=ROOT, change=99, mode=DIRECTORY), trio.current_time(), removed=b"x"
        )
        assert (await lab.metadata.reads.lookup(ROOT, b"x")).inode_id, "it is answered"
        assert lab.cache.lookup(ROOT, b"x", trio.current_time()) is None, "and not believed"


@pytest.mark.parametrize("how", ["by name", "by number"])
async def test_what_an_own_change_has_overtaken_is_asked_for_again(autojump_clock, how):
    async with running(GROUPS) as lab:
        inodes = lab.servers.namespace.inodes
        file = lab.servers.namespace.make(ROOT, b"x", FILE)
        newer = pb.Inode()
        newer.CopyFrom(inodes[file])
        newer.length, newer.change = 70, newer.change + 1
        asked = []

        def overtake(_):
            asked.append(trio.current_time())
            if len(asked) == 1:
                lab.cache.learn_attributes(newer, trio.current_time() - 100)  # and it is no more in the cache
            else:
                inodes[file] = newer

        lab.servers.on_read = overtake
        reads = lab.metadata.reads
        inode = await (reads.lookup(ROOT, b"x") if how == "by name" else reads.get_attr(file))
        assert (inode.length, len(asked)) == (70, 2)


async def test_a_name_is_looked_up_without_groups_that_it_does_not_lead_to(autojump_clock):
    """Also when the directory is listed for it."""
    async with running(GROUPS) as lab:
        made = make_spread(lab, 90)
        lab.servers.servers[C].frozen = True
        await lab.metadata.reads.get_attr(ROOT)
        began = trio.current_time()
        for number in range(90):
            if number % 3 < 2:
                assert (await lab.metadata.reads.lookup(ROOT, b"%03d" % number)).inode_id == made[number]
        assert trio.current_time() - began < 1.0
        assert lab.servers.reads["read_dir"] == 1


async def test_a_name_in_a_directory_that_is_gone_is_no_absent_name(autojump_clock):
    async with running(GROUPS) as lab:
        inner = lab.servers.namespace.make(ROOT, b"inner", DIRECTORY, 0)
        await lab.metadata.reads.lookup(ROOT, b"inner")
        del lab.servers.namespace.inodes[inner], lab.servers.namespace.names[ROOT, b"inner"]
        with pytest.raises(StaleHandle):
            await lab.metadata.reads.lookup(inner, b"x")
        assert lab.cache.attributes(inner, trio.current_time()) is None


async def test_a_name_whose_inode_has_none_any_more_is_looked_up_again(autojump_clock):
    """As of what was moved to the trash."""
    async with running(GROUPS) as lab:
        file = lab.servers.namespace.make(ROOT, b"x", FILE, 1)
        lab.cache.learn_name(ROOT, b"x", file, trio.current_time())
        lab.servers.namespace.inodes[file].nlink = 0
        del lab.servers.namespace.names[ROOT, b"x"]
        with pytest.raises(NotFound):
            await lab.metadata.reads.lookup(ROOT, b"x")


async def test_statfs_adds_up_to_no_more_than_there_is_room_for(autojump_clock):
    async with running({1: [0], 2: [1]}) as lab:
        lab.servers.used_bytes = (1 << 64) - 5
        assert (await lab.metadata.reads.stat_fs()).used_bytes == (1 << 64) - 1


async def test_statfs_asks_each_group_once_and_adds_up(autojump_clock):
    async with running({1: [0, 3], 2: [1], 3: [2, 4]}) as lab:
        for number in range(10):
            lab.servers.namespace.make(ROOT, b"%d" % number, FILE, number % 5)
        assert (await lab.metadata.reads.stat_fs()).inode_count == 11
        assert lab.servers.reads == Counter(stat_fs=3)
