"""Changes of names over several partitions: which take the lane, which a transaction, and what the cache knows then."""

import random
import stat

import pytest
import trio

from curvefs.proto import common_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.errors import AlreadyExists, CrossPartition, FilesystemError, IOFailure, NotFound
from curvefs.src.common.ids import partition_of

from .lab import ROOT, TIMEOUT_S, A, B, C, running

pytestmark = pytest.mark.trio

ME = pb.Credential(uid=5, gid=6)
FILE, DIRECTORY = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755
THREE = {1: [0], 2: [1, 3], 3: [2]}


def kinds(lab, group_id=1):
    """Return the kinds of operations that a group got in the lane, and as transactions."""
    group = lab.group(group_id)
    return (
        [operation.WhichOneof("operation") for _, _, operation in group.applied],
        [operation.WhichOneof("operation") for _, _, operation in group.transacted],
    )


def tree(lab):
    """Make a directory of partition 0, one of 1 and one of 2, and a file in each."""
    namespace = lab.servers.namespace
    here = namespace.make(ROOT, b"here", DIRECTORY, 0)
    one = namespace.make(ROOT, b"one", DIRECTORY, 1)
    two = namespace.make(ROOT, b"two", DIRECTORY, 2)
    for directory in (here, one, two):
        namespace.make(directory, b"file", FILE)
    return here, one, two


async def test_a_file_in_its_partition_takes_the_lane(autojump_clock):
    async with running(THREE) as lab:
        here, _, _ = tree(lab)
        names = lab.metadata.names
        await names.create(here, b"a", FILE, ME)
        await names.rename(here, b"a", ROOT, b"b")
        await names.unlink(ROOT, b"b", 0)
        assert kinds(lab) == (["create", "rename", "unlink"], [])


async def test_what_is_known_to_span_partitions_is_a_transaction_at_once(autojump_clock):
    async with running(THREE) as lab:
        here, one, two = tree(lab)
        names, reads = lab.metadata.names, lab.metadata.reads
        for name in (b"here", b"one", b"two"):
            await reads.lookup(ROOT, name)
        await names.rename(here, b"file", one, b"moved")
        assert kinds(lab, 1) == ([], ["rename"])
        file = await reads.lookup(two, b"file")
        await names.link(file.inode_id, one, b"linked")
        assert kinds(lab, 2) == ([], ["link"]), "the new parent's group coordinates"
        for name in (b"linked", b"moved"):
            await reads.lookup(one, name)
            await names.unlink(one, name, 0)
        assert kinds(lab, 2) == ([], ["link", "unlink", "unlink"])
        await names.unlink(two, b"file", 0)
        await names.rmdir(ROOT, b"two", 0)
        assert kinds(lab, 1) == ([], ["rename", "rmdir"])
        assert kinds(lab, 3) == (["unlink"], [])


async def test_what_turns_out_to_span_partitions_is_tried_in_the_lane_first(autojump_clock):
    async with running(THREE) as lab:
        here, one, _ = tree(lab)
        file = lab.servers.namespace.names[one, b"file"]
        lab.servers.namespace.apply(
            pb.Operation(link=pb.Link(inode_id=file, new_parent=here, new_name=b"x")), spanning=True
        )
        await lab.metadata.names.unlink(here, b"x", 0)  # nobody looked it up: where it leads is not known
        assert kinds(lab) == (["unlink"], ["unlink"])
        assert (here, b"x") not in lab.servers.namespace.names


async def test_a_directory_that_gets_another_parent_is_always_a_transaction(autojump_clock):
    async with running(THREE) as lab:
        here, _, _ = tree(lab)
        sub = lab.servers.namespace.make(here, b"sub", DIRECTORY)
        await lab.metadata.reads.lookup(here, b"sub")
        names = lab.metadata.names
        await names.rename(here, b"sub", here, b"sub2")
        assert kinds(lab) == (["rename"], []), "within its parent it is not"
        await names.rename(here, b"sub2", ROOT, b"sub3")
        assert kinds(lab) == (["rename"], ["rename"])
        lab.servers.namespace.make(here, b"plain", FILE)
        for parent, name in ((here, b"plain"), (ROOT, b"sub3")):
            await lab.metadata.reads.lookup(parent, name)
        await names.rename(here, b"plain", ROOT, b"sub3", exchange=True)
        assert kinds(lab) == (["rename"], ["rename", "rename"]), "an exchange with a directory is one, too"
        assert lab.servers.namespace.names[here, b"plain"] == sub


async def test_an_unknown_directory_that_gets_another_parent_becomes_one(autojump_clock):
    async with running(THREE) as lab:
        here, _, _ = tree(lab)
        lab.servers.namespace.make(here, b"sub", DIRECTORY)
        await lab.metadata.names.rename(here, b"sub", ROOT, b"sub3")
        assert kinds(lab) == (["rename"], ["rename"])


async def test_directories_below_the_root_are_spread_and_others_stay(autojump_clock):
    async with running(THREE) as lab:
        made = [await lab.metadata.names.make_directory(ROOT, b"%d" % n, DIRECTORY, ME) for n in range(8)]
        assert sorted(partition_of(inode.inode_id) for inode in made) == [0, 0, 1, 1, 2, 2, 3, 3]
        assert all(inode.nlink == 2 and stat.S_ISDIR(inode.mode) for inode in made)
        for directory in made:
            sub = await lab.metadata.names.make_directory(directory.inode_id, b"sub", DIRECTORY, ME)
            assert partition_of(sub.inode_id) == partition_of(directory.inode_id)
        assert sum(len(kinds(lab, group)[1]) for group in THREE) == 6, "those of the root's own partition need none"


async def test_a_large_partition_gives_directories_away_and_counts_are_refreshed(autojump_clock):
    async with running(THREE) as lab:
        _, one, _ = tree(lab)
        make = lab.metadata.names.make_directory
        assert partition_of((await make(one, b"a", DIRECTORY, ME)).inode_id) == 1
        lab.session.counts = {0: 9, 1: 2_000_000, 2: 4, 3: 8}
        await trio.sleep(40.0)
        await make(one, b"b", DIRECTORY, ME)  # asks for fresh numbers
        await trio.sleep(1.0)
        assert partition_of((await make(one, b"c", DIRECTORY, ME)).inode_id) == 2
        assert lab.session.listed == 1


async def test_no_directory_goes_to_a_partition_whose_group_has_no_leader(autojump_clock):
    async with running(THREE) as lab:
        tree(lab)
        lab.session.counts = {0: 100, 1: 100, 2: 0, 3: 100}
        await trio.sleep(40.0)
        make = lab.metadata.names.make_directory
        await make(ROOT, b"a", DIRECTORY, ME)
        await trio.sleep(1.0)
        assert partition_of((await make(ROOT, b"b", DIRECTORY, ME)).inode_id) == 2
        lab.group(3).led_by("")
        lab.servers.kill(C)
        await trio.sleep(1.0)
        assert partition_of((await make(ROOT, b"c", DIRECTORY, ME)).inode_id) != 2


async def test_a_group_that_does_not_have_the_partition_yet_is_asked_again(autojump_clock):
    async with running(THREE) as lab:
        here, _, _ = tree(lab)
        answers = [common_pb2.WRONG_PARTITION, common_pb2.OK]
        real = lab.servers.namespace.apply

        def apply(operation, *, spanning):
            code = answers.pop(0)
            return pb.OperationResult(status=code) if code else real(operation, spanning=spanning)

        lab.servers.namespace.apply = apply
        await lab.metadata.names.create(here, b"a", FILE, ME)
        assert not answers
        await trio.sleep(0.1)
        assert lab.session.listed == 1


async def test_a_new_directory_elsewhere_is_known_to_be_empty_and_its_name_is_known(autojump_clock):
    async with running(THREE) as lab:
        await lab.metadata.reads.get_attr(ROOT)
        lab.session.counts = {0: 100, 1: 100, 2: 0, 3: 100}
        await lab.router._session.list_partitions()
        made = [await lab.metadata.names.make_directory(ROOT, b"%d" % n, DIRECTORY, ME) for n in range(4)]
        foreign = next(inode for inode in made if partition_of(inode.inode_id))
        before = sum(lab.servers.reads.values())
        with pytest.raises(NotFound):
            await lab.metadata.reads.lookup(foreign.inode_id, b"x")
        for number, inode in enumerate(made):
            assert (await lab.metadata.reads.lookup(ROOT, b"%d" % number)).inode_id == inode.inode_id
        assert sum(lab.servers.reads.values()) == before


async def test_creating_over_a_file_of_another_partition(autojump_clock):
    async with running(THREE) as lab:
        here, one, _ = tree(lab)
        file = lab.servers.namespace.names[one, b"file"]
        names = lab.metadata.names
        await names.link(file, here, b"x")
        with pytest.raises(AlreadyExists):
            await names.create(here, b"x", FILE, ME, exclusive=True)
        there, existed = await names.create(here, b"x", FILE, ME, exclusive=False)
        assert (there.inode_id, existed) == (file, True)
        with pytest.raises(AlreadyExists):
            await names.create(here, b"x", stat.S_IFLNK | 0o777, ME, symlink_target=b"t")


async def test_a_locked_name_is_tried_again_soon_and_not_for_ever(autojump_clock):
    async with running(THREE) as lab:
        here, _, _ = tree(lab)
        await lab.metadata.names.create(here, b"a", FILE, ME)
        lab.servers.busy["create"] = 6
        began = trio.current_time()
        await lab.metadata.names.create(here, b"b", FILE, ME)
        assert 0.01 < trio.current_time() - began < 0.2
        lab.servers.busy["create"] = 10**9
        began = trio.current_time()
        with pytest.raises(IOFailure):
            await lab.metadata.names.create(here, b"c", FILE, ME)
        assert TIMEOUT_S - 0.1 < trio.current_time() - began <= TIMEOUT_S
        assert (here, b"c") not in lab.servers.namespace.names


async def test_a_transaction_is_sent_again_under_its_number_to_the_next_leader(autojump_clock):
    async with running(THREE) as lab:
        here, one, _ = tree(lab)
        lab.servers.deaf_transactions = 1  # done, and the answer is lost with the leader
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lab.metadata.names.rename, here, b"file", one, b"x")
            await trio.sleep(0.1)
            lab.servers.kill(A)
            lab.group().led_by(B)
        numbers = [
            request.number
            for server in lab.servers.servers.values()
            for _, frame in server.frames
            for request in frame.transactions
        ]
        assert numbers == [1, 1]
        assert kinds(lab) == ([], ["rename"]), "it was done once"


async def test_a_refused_transaction_keeps_its_number_until_the_deadline_and_then_gives_it_up(autojump_clock):
    async with running(THREE) as lab:
        here, one, _ = tree(lab)
        await lab.metadata.reads.lookup(ROOT, b"here")
        lab.fail(A, common_pb2.UNAVAILABLE, 10**6)
        began = trio.current_time()
        with pytest.raises(IOFailure):
            await lab.router.transact(
                0, pb.Operation(rename=pb.Rename(parent=here, name=b"file", new_parent=one, new_name=b"x"))
            )
        assert trio.current_time() - began == pytest.approx(TIMEOUT_S)
        frames = [request for _, frame in lab.servers.servers[A].frames for request in frame.transactions]
        assert {request.number for request in frames} == {1}
        assert 60 < len(frames) < 300, "with growing pauses, by itself: the group stays where it is"
        assert not lab.servers.servers[B].hellos or lab.servers.servers[B].hellos == [[2]]
        lab.servers.servers[A].failing.clear()
        await trio.sleep(1.0)
        await lab.router.transact(0, pb.Operation(unlink=pb.Unlink(parent=here, name=b"file")))
        done = [(number, operation.WhichOneof("operation")) for _, number, operation in lab.group().transacted]
        assert done == [(1, "noop"), (2, "unlink")], "nobody waits for the first: it does not happen any more"


async def test_many_transactions_and_lane_operations_survive_changes_of_leaders(autojump_clock):
    for seed in range(6):
        async with running(THREE, seed=seed) as lab:
            here, one, two = tree(lab)
            directories = [here, one, two]
            for directory in directories:
                for number in range(40):
                    lab.servers.namespace.make(directory, b"%d-%d" % (directory, number), FILE)
            draw = random.Random(seed)
            names = lab.metadata.names
            failed = []

            async def move(directory, number, target, names=names, failed=failed):
                name = b"%d-%d" % (directory, number)
                try:
                    await names.rename(directory, name, target, b"new-" + name)
                except FilesystemError as error:
                    failed.append(error)

            async with trio.open_nursery() as nursery:
                for number in range(40):
                    for directory in directories:
                        nursery.start_soon(move, directory, number, draw.choice(directories))
                    await trio.sleep(0.001)
                    if number % 5 == 0:
                        group = lab.group(draw.randrange(3) + 1)
                        group.led_by(draw.choice([A, B, C]))
                    if number % 9 == 0:
                        address = draw.choice([A, B, C])
                        lab.servers.kill(address)
                        lab.servers.servers[address].alive = True
            assert not failed
            new = [name for parent, name in lab.servers.namespace.names if name.startswith(b"new-")]
            assert len(new) == len(set(new)) == 120
            for group in THREE:
                transacted = [number for _, number, _ in lab.group(group).transacted]
                assert len(transacted) == len(set(transacted))


async def test_a_lane_cannot_be_used_for_what_spans_partitions(autojump_clock):
    async with running(THREE) as lab:
        here, one, _ = tree(lab)
        with pytest.raises(CrossPartition):
            await lab.router.operate(
                0, pb.Operation(rename=pb.Rename(parent=here, name=b"file", new_parent=one, new_name=b"x"))
            )


NAMES = [b"a", b"b", b"c"]


async def play(lab, draw, directories, steps):
    """Change names at random, and compare each look through the cache with what is."""
    namespace, names, reads = lab.servers.namespace, lab.metadata.names, lab.metadata.reads
    for _ in range(steps):
        parent, name = draw.choice(directories), draw.choice(NAMES)
        new_parent, new_name = draw.choice(directories), draw.choice(NAMES)
        try:
            match draw.randrange(9):
                case 0 | 1:
                    await names.create(parent, name, FILE, ME)
                case 2:
                    await names.make_directory(parent, name, DIRECTORY, ME)
                case 3:
                    there = await reads.lookup(parent, name)
                    await (names.rmdir if stat.S_ISDIR(there.mode) else names.unlink)(parent, name, 0)
                case 4:
                    there = await reads.lookup(parent, name)
                    if not stat.S_ISDIR(there.mode):
                        await names.link(there.inode_id, new_parent, new_name)
                case 5:
                    target = namespace.inodes.get(namespace.names.get((new_parent, new_name), 0))
                    moved = namespace.inodes.get(namespace.names.get((parent, name), 0))
                    if moved and not stat.S_ISDIR(moved.mode) and not (target and stat.S_ISDIR(target.mode)):
                        await names.rename(parent, name, new_parent, new_name)
                case 6:
                    page = await reads.read_dir(
                        parent, 0, b"", limit=100, generation=(generation := lab.cache.begin_listing())
                    )
                    assert [entry.name for entry in page.entries] == sorted(
                        n for p, n in namespace.names if p == parent
                    )
                    for entry in page.entries:
                        assert entry.inode == namespace.inodes[entry.inode_id]
                    began = trio.current_time()
                    if page.as_read:
                        lab.cache.finish_listing(parent, page.change, generation, len(page.entries), began)
                case 7:
                    inode = draw.choice(list(namespace.inodes))
                    await lab.metadata.set_attr(pb.SetAttr(inode_id=inode, mode=draw.randrange(0o777)))
                case _:
                    await trio.sleep(draw.random() * 0.7)
        except FilesystemError:
            pass
        for directory in directories:
            for one in NAMES:
                known = namespace.names.get((directory, one))
                try:
                    inode = await reads.lookup(directory, one)
                except NotFound:
                    assert known is None
                else:
                    assert inode == namespace.inodes[known]


@pytest.mark.parametrize("seed", range(8))
async def test_a_mount_sees_its_own_changes_at_once_wherever_they_lie(autojump_clock, seed):
    async with running(THREE, seed=seed) as lab:
        draw = random.Random(seed)
        await play(lab, draw, [ROOT, *tree(lab)], 250)
        reads = sum(lab.servers.reads.values())
        assert reads < 250 * 12, "and the cache answers some"
