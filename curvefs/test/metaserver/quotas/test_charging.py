"""What is charged to quotas, and what is refused, operation by operation."""

import stat

import pytest

from curvefs.proto import common_pb2, state_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.metaserver.metastore import quota_owner, quotas
from curvefs.src.metaserver.quotas.recount import recount
from curvefs.src.metaserver.storage import keys
from curvefs.test.metaserver.metastore.lab import CHUNK, FS, SESSION, Lab

UNLIMITED = quota_owner.UNLIMITED


class Limited(Lab):
    """One partition; `quota` makes one for a directory and says what the partition may use."""

    def quota(self, inode_id, bytes_=UNLIMITED, inodes=UNLIMITED):
        limit = common_pb2.QuotaAmount(bytes=1000, inodes=1000)
        applied = self.entry(set_quota=state_pb2.SetQuotaCommand(fs_id=FS, inode_id=inode_id, limit=limit))
        self.share(applied.quota.quota_id, bytes_, inodes)
        return applied.quota.quota_id

    def share(self, quota_id, bytes_=UNLIMITED, inodes=UNLIMITED, *, version=None, **more):
        self.version = version or getattr(self, "version", 0) + 1
        said = common_pb2.QuotaShare(
            version=self.version, allowance=common_pb2.QuotaAmount(bytes=bytes_, inodes=inodes), **more
        )
        command = state_pb2.SetShareCommand(fs_id=FS, partition_id=0, quota_id=quota_id, share=said)
        return self.entry(set_share=command).share

    def used(self, quota_id):
        share = quotas.share_in(self.state, FS, 0, quota_id)
        return share.used.bytes, share.used.inodes

    def reserved(self, quota_id):
        return quotas.share_in(self.state, FS, 0, quota_id).reserved.bytes

    def truncate(self, inode_id, length):
        return self.do(set_attr=pb.SetAttr(inode_id=inode_id, length=length))

    def check(self):
        reply = recount(self.state, FS, 0)
        assert not reply.wrong_charges
        assert all(one.counted == one.stored for one in reply.counts), reply


@pytest.fixture
def lab():
    made = Limited()
    yield made
    made.check()


def test_what_lies_below_is_charged_but_not_the_directory_itself(lab):
    top = lab.mkdir(1, b"top")
    quota_id = lab.quota(top)
    inner = lab.mkdir(top, b"inner")
    file = lab.create(inner, b"file")
    lab.truncate(file, 70)
    lab.create(inner, b"link", stat.S_IFLNK | 0o777, symlink_target=b"a long target")
    assert lab.used(quota_id) == (70, 3)


def test_a_create_past_the_allowance_is_refused_and_says_what_is_missing(lab):
    top = lab.mkdir(1, b"top")
    quota_id = lab.quota(top, inodes=1)
    lab.create(top, b"one")
    request = pb.Create(parent=top, name=b"two", mode=stat.S_IFREG | 0o644)
    result = lab.refused(common_pb2.NO_ALLOWANCE, create=request)
    assert (result.need.quota_id, result.need.partition_id, result.need.amount.inodes) == (quota_id, 0, 1)
    lab.share(quota_id, inodes=2)
    lab.create(top, b"two")


def test_growth_past_the_allowance_is_refused_however_it_comes(lab):
    top = lab.mkdir(1, b"top")
    lab.quota(top, bytes_=100)
    file = lab.create(top, b"file")
    for operation in (
        {"set_attr": pb.SetAttr(inode_id=file, length=101)},
        {"append_slices": pb.AppendSlices(inode_id=file, length=101)},
        {"append_slices": pb.AppendSlices(inode_id=file, length=101, at_end=True)},
        {"fallocate": pb.Fallocate(inode_id=file, length=101)},
        {"reserve": pb.Reserve(inode_id=file, bytes=101)},
    ):
        assert lab.refused(common_pb2.NO_ALLOWANCE, **operation).need.amount.bytes == 101
    assert not lab.truncate(file, 100).status
    lab.ok(append_slices=pb.AppendSlices(inode_id=file, length=50))  # an overwrite needs none
    assert not lab.truncate(file, 10).status
    assert not lab.truncate(file, 100).status


def test_a_hard_link_is_charged_nothing_and_the_charge_stays_when_the_first_name_goes(lab):
    one, other = lab.mkdir(1, b"one"), lab.mkdir(1, b"other")
    first, second = lab.quota(one), lab.quota(other)
    file = lab.create(one, b"file")
    lab.truncate(file, 5)
    lab.ok(link=pb.Link(inode_id=file, new_parent=other, new_name=b"name"))
    assert (lab.used(first), lab.used(second)) == ((5, 1), (0, 0))
    lab.ok(unlink=pb.Unlink(parent=one, name=b"file"))
    assert (lab.used(first), lab.used(second)) == ((5, 1), (0, 0))
    lab.ok(rename=pb.Rename(parent=other, name=b"name", new_parent=other, new_name=b"new"))
    assert (lab.used(first), lab.used(second)) == ((0, 0), (5, 1))
    lab.ok(unlink=pb.Unlink(parent=other, name=b"new"))
    assert lab.used(second) == (0, 0)


def test_a_file_takes_its_charge_along_and_needs_an_allowance_where_it_comes_to(lab):
    one, other = lab.mkdir(1, b"one"), lab.mkdir(1, b"other")
    first, second = lab.quota(one), lab.quota(other, bytes_=50)
    file = lab.create(one, b"file")
    lab.truncate(file, 60)
    rename = pb.Rename(parent=one, name=b"file", new_parent=other, new_name=b"file")
    assert lab.refused(common_pb2.NO_ALLOWANCE, rename=rename).need.quota_id == second
    lab.truncate(file, 40)
    lab.ok(rename=rename)
    assert (lab.used(first), lab.used(second)) == ((0, 0), (40, 1))


def test_what_is_renamed_over_is_charged_no_more(lab):
    top = lab.mkdir(1, b"top")
    quota_id = lab.quota(top, inodes=2)
    lab.truncate(lab.create(top, b"a"), 10)
    lab.truncate(lab.create(top, b"b"), 20)
    lab.ok(rename=pb.Rename(parent=top, name=b"a", new_parent=top, new_name=b"b"))
    assert lab.used(quota_id) == (10, 1)


def test_an_exchange_swaps_the_charges(lab):
    one, other = lab.mkdir(1, b"one"), lab.mkdir(1, b"other")
    first, second = lab.quota(one), lab.quota(other)
    lab.truncate(lab.create(one, b"file"), 10)
    lab.truncate(lab.create(other, b"file"), 30)
    lab.ok(rename=pb.Rename(parent=one, name=b"file", new_parent=other, new_name=b"file", exchange=True))
    assert (lab.used(first), lab.used(second)) == ((30, 1), (10, 1))


def test_what_is_open_counts_until_it_is_let_go(lab):
    top = lab.mkdir(1, b"top")
    quota_id = lab.quota(top)
    file = lab.create(top, b"file")
    lab.truncate(file, 9)
    lab.ok(unlink=pb.Unlink(parent=top, name=b"file", held_inode=file))
    assert lab.used(quota_id) == (9, 1)
    lab.ok(release_inode=pb.ReleaseInode(inode_id=file))
    assert lab.used(quota_id) == (0, 0)


def test_a_directory_that_is_removed_takes_its_quota_along(lab):
    top = lab.mkdir(1, b"top")
    quota_id = lab.quota(top)
    lab.ok(rmdir=pb.Rmdir(parent=1, name=b"top"))
    assert quota_owner.find(lab.state, FS, quota_id).state == quota_owner.Status.DELETING


def test_a_quota_that_is_gone_counts_nothing_and_limits_nothing(lab):
    top = lab.mkdir(1, b"top")
    quota_id = lab.quota(top, inodes=0)
    lab.share(quota_id, gone=True)
    lab.create(top, b"file")
    assert lab.used(quota_id) == (0, 0)
    assert lab.share(quota_id, version=100).gone, "a number is never used again"


def test_an_older_word_of_the_owner_changes_nothing(lab):
    top = lab.mkdir(1, b"top")
    quota_id = lab.quota(top)
    lab.share(quota_id, 10, 10, version=7)
    assert lab.share(quota_id, 500, 500, version=7).allowance.bytes == 10
    assert lab.share(quota_id, 500, 500, version=6).allowance.bytes == 10


def test_an_allowance_is_never_less_than_what_is_used_and_reserved(lab):
    top = lab.mkdir(1, b"top")
    quota_id = lab.quota(top)
    file = lab.create(top, b"file")
    lab.truncate(file, 30)
    lab.ok(reserve=pb.Reserve(inode_id=file, bytes=12))
    share = lab.share(quota_id, 0, 0)
    assert (share.allowance.bytes, share.allowance.inodes) == (42, 1)


def test_a_partition_made_later_uses_nothing_before_it_was_told():
    lab = Lab(partitions=())
    spec = pb.PartitionSpec(fs_id=FS, partition_id=0, chunk_size=CHUNK, block_size=CHUNK, limited=True)
    lab.entry(create_partition=state_pb2.CreatePartitionCommand(partition=spec))
    request = pb.Create(parent=1, name=b"file", mode=stat.S_IFREG | 0o644)
    assert lab.refused(common_pb2.NO_ALLOWANCE, create=request).need.quota_id == quotas.FILESYSTEM
    share = common_pb2.QuotaShare(version=1, unlimited=True)
    command = state_pb2.SetShareCommand(fs_id=FS, partition_id=0, quota_id=quotas.FILESYSTEM, share=share)
    lab.entry(set_share=command)
    assert not lab.ok(create=request).limited


def test_what_a_session_reserved_is_its_own_until_it_is_used_given_back_or_ended(lab):
    top = lab.mkdir(1, b"top")
    quota_id = lab.quota(top, bytes_=100)
    file = lab.create(top, b"file")
    reserved = lab.ok(reserve=pb.Reserve(inode_id=file, bytes=80)).reserved
    assert (list(reserved.quotas), reserved.bytes) == ([quota_id], 80)
    lab.refused(common_pb2.NO_ALLOWANCE, set_attr=pb.SetAttr(inode_id=file, length=30))
    lab.ok(
        append_slices=pb.AppendSlices(inode_id=file, length=60, reserved=pb.Reservation(quotas=[quota_id], bytes=60))
    )
    assert (lab.used(quota_id)[0], lab.reserved(quota_id)) == (60, 20)
    lab.ok(give_back=pb.GiveBack(partition_id=0, reserved=pb.Reservation(quotas=[quota_id], bytes=15)))
    assert lab.reserved(quota_id) == 5
    lab.ok(give_back=pb.GiveBack(partition_id=0, reserved=pb.Reservation(quotas=[quota_id, 99], bytes=500)))
    assert lab.reserved(quota_id) == 0
    lab.ok(reserve=pb.Reserve(inode_id=file, bytes=40))
    lab.end(SESSION)
    assert lab.reserved(quota_id) == 0
    assert not lab.table(keys.RESERVED)


def test_a_publication_that_used_the_quota_up_is_told_that_it_was_done_when_it_is_tried_again(lab):
    top = lab.mkdir(1, b"top")
    quota_id = lab.quota(top, bytes_=100)
    file = lab.create(top, b"file")
    granted = lab.ok(allocate_ids=pb.AllocateIds(kind=common_pb2.CHUNK)).ranges[0]
    lab.ok(reserve=pb.Reserve(inode_id=file, bytes=100))

    def publication(chunk_id):
        one = pb.Slice(chunk_id=chunk_id, length=100, size=100, object=pb.ObjectLocation(block_format=1))
        reserved = pb.Reservation(quotas=[quota_id], bytes=100)
        return pb.AppendSlices(inode_id=file, slices=[one], length=100, at_end=True, reserved=reserved)

    lab.ok(append_slices=publication(granted.first))
    lab.refused(common_pb2.ALREADY_DONE, append_slices=publication(granted.first))
    lab.refused(common_pb2.NO_ALLOWANCE, append_slices=publication(granted.first + 1))
    assert lab.used(quota_id)[0] == 100


def test_of_a_wish_only_a_part_of_what_is_left_is_reserved(lab):
    top = lab.mkdir(1, b"top")
    lab.quota(top, bytes_=1610)
    file = lab.create(top, b"file")
    assert lab.ok(reserve=pb.Reserve(inode_id=file, bytes=10, wish=10_000)).reserved.bytes == 110


def test_a_deleted_partition_leaves_nothing_of_quotas():
    lab = Limited()
    top = lab.mkdir(1, b"top")
    quota_id = lab.quota(top)
    lab.create(top, b"file")
    command = state_pb2.LendCommand(
        fs_id=FS, quota_id=quota_id, partition_id=0, share=common_pb2.QuotaShare(version=1, unlimited=True)
    )
    assert lab.entry(lend=command).failure is None
    lab.entry(delete_partition=state_pb2.DeletePartitionCommand(fs_id=FS, partition_id=0))
    assert not [key for key in lab.state.pairs if key[:1] in (keys.SHARE, keys.QUOTA, keys.LOAN)]


def test_a_recount_finds_a_counter_that_drifted_and_a_charge_that_is_wrong():
    lab = Limited()
    top = lab.mkdir(1, b"top")
    quota_id = lab.quota(top)
    file = lab.create(top, b"file")
    key = keys.share(FS, 0, quota_id)
    share = common_pb2.QuotaShare.FromString(lab.state.get(key))
    share.used.inodes += 1
    lab.state.put(key, share.SerializeToString())
    found = {one.quota_id: one for one in recount(lab.state, FS, 0).counts}
    assert (found[quota_id].counted.inodes, found[quota_id].stored.inodes) == (1, 2)
    inode = lab.inode(file)
    del inode.quotas[:]
    lab.state.put(keys.of_inode(keys.INODE, FS, file), inode.SerializeToString())
    assert recount(lab.state, FS, 0).wrong_charges == 1


# ------------------------------------------------------------------------------------------------- owners


def lend(lab, quota_id, version, bytes_, partition_id=0, **more):
    share = common_pb2.QuotaShare(version=version, allowance=common_pb2.QuotaAmount(bytes=bytes_), **more)
    command = state_pb2.LendCommand(fs_id=FS, quota_id=quota_id, partition_id=partition_id, share=share)
    return lab.entry(lend=command).failure


def lent(lab, quota_id, version, bytes_, partition_id=0):
    share = common_pb2.QuotaShare(version=version, allowance=common_pb2.QuotaAmount(bytes=bytes_))
    command = state_pb2.LentCommand(fs_id=FS, quota_id=quota_id, partition_id=partition_id, share=share)
    assert lab.entry(lent=command).failure is None


def test_no_more_is_lent_than_the_limit(lab):
    quota_id = lab.quota(lab.mkdir(1, b"top"))
    assert lend(lab, quota_id, 1, 600) is None
    assert lend(lab, quota_id, 1, 500, partition_id=3).code == common_pb2.QUOTA_EXCEEDED
    assert lend(lab, quota_id, 1, 400, partition_id=3) is None


def test_what_is_called_back_counts_as_lent_until_the_partition_has_said_so(lab):
    quota_id = lab.quota(lab.mkdir(1, b"top"))
    assert lend(lab, quota_id, 1, 1000) is None
    lent(lab, quota_id, 1, 1000)
    assert lend(lab, quota_id, 2, 100) is None
    assert lend(lab, quota_id, 1, 500, partition_id=3).code == common_pb2.QUOTA_EXCEEDED
    lent(lab, quota_id, 1, 0)  # an old answer that was long on its way
    assert lend(lab, quota_id, 1, 500, partition_id=3).code == common_pb2.QUOTA_EXCEEDED
    lent(lab, quota_id, 2, 300)  # so much it uses
    assert lend(lab, quota_id, 1, 700, partition_id=3) is None


def test_nothing_else_is_said_before_the_last_word_has_arrived(lab):
    quota_id = lab.quota(lab.mkdir(1, b"top"))
    assert lend(lab, quota_id, 1, 100) is None
    assert lend(lab, quota_id, 2, 200).code == common_pb2.SKIPPED
    lent(lab, quota_id, 1, 100)
    assert lend(lab, quota_id, 3, 200).code == common_pb2.SKIPPED
    assert lend(lab, quota_id, 2, 200) is None


LONGEST = (1 << 62) - 1


def test_files_of_a_partition_are_together_no_longer_than_can_be_counted(lab):
    """An entry that cannot be applied would stop the group for good."""
    files = [lab.create(1, b"%d" % number) for number in range(3)]
    lab.truncate(files[0], LONGEST)
    lab.refused(common_pb2.NO_SPACE, set_attr=pb.SetAttr(inode_id=files[1], length=2))
    lab.truncate(files[1], 1)
    lab.refused(common_pb2.NO_SPACE, set_attr=pb.SetAttr(inode_id=files[2], length=1))
    lab.refused(common_pb2.FILE_TOO_LARGE, set_attr=pb.SetAttr(inode_id=files[0], length=LONGEST + 1))
    lab.truncate(files[0], 0)
    lab.truncate(files[2], LONGEST)


def test_what_is_counted_and_not_limited_is_reserved_no_further_than_can_be_counted(lab):
    top = lab.mkdir(1, b"top")
    quota_id = lab.quota(top)
    lab.share(quota_id, unlimited=True)
    file = lab.create(top, b"file")
    for _ in range(4):
        lab.do(reserve=pb.Reserve(inode_id=file, bytes=1 << 60))
    lab.refused(common_pb2.NO_SPACE, reserve=pb.Reserve(inode_id=file, bytes=1))
    assert lab.reserved(quota_id) == 1 << 62
    lab.truncate(file, LONGEST)
    lab.share(quota_id, bytes_=5)
    assert quotas.share_in(lab.state, FS, 0, quota_id).allowance.bytes >= LONGEST + (1 << 62)
