"""Each part of a transaction by value: what it finds, what it refuses, and what it changes, at the commit only."""

import stat

import pytest

from curvefs.proto import common_pb2 as c
from curvefs.proto import metaserver_pb2 as pb
from curvefs.proto import state_pb2
from curvefs.proto import transaction_pb2 as t
from curvefs.src.common.ids import make_id
from curvefs.src.metaserver.metastore import sessions
from curvefs.src.metaserver.metastore.scope import LINK_COUNT_MAX
from curvefs.src.metaserver.storage import keys

from .fleet import (
    DIRECTORY,
    Fleet,
    add_link,
    code_of,
    decide,
    drop_link,
    finish,
    move_inode,
    move_lock,
    new_directory,
    pairs_of,
    prepare,
    put_name,
    remove_name,
)
from .lab import FS, SESSION, Lab

ROOT = 1
ELSEWHERE, ELSEWHERE_TOO = make_id(5, 7), make_id(5, 8)
DIR, REG = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o644
LOCKS = (keys.LOCK, keys.PREPARED, keys.FINISHED, keys.FINISHED_AT)


@pytest.fixture
def lab():
    return Lab()


def commit(lab, *parts):
    """Prepare and commit parts; return the facts."""
    applied = prepare(lab, 1, *parts)
    assert code_of(applied) == "OK"
    assert applied.conflict is None
    assert code_of(finish(lab, 1, commit=True)) == "OK"
    return applied.facts


def refuses(lab, code, *parts):
    """Parts are refused by a participant and by the coordinator, without a trace."""
    with lab.unchanged():
        for applied in (prepare(lab, 77, *parts), decide(lab, 77, *parts)):
            assert code_of(applied) == c.StatusCode.Name(code)
            assert (applied.facts, applied.conflict, applied.decided) == (None, None, None)


def dentry(lab, parent, name):
    return Fleet.around(lab).there(parent, name)


def changes(before, after):
    """Return the names of fields that differ."""
    return {
        field.name for field in before.DESCRIPTOR.fields if getattr(before, field.name) != getattr(after, field.name)
    }


def test_remove_name_takes_a_file_s_name(lab):
    file = lab.create(ROOT, b"f")
    before, inode = lab.inode(ROOT), lab.inode(file)
    commit(lab, remove_name(ROOT, b"f", file))
    after = lab.inode(ROOT)
    assert changes(before, after) == {"change", "mtime_ns", "ctime_ns", "entry_count"}
    assert (after.change, after.entry_count, after.mtime_ns) == (before.change + 1, 0, lab.time_ns)
    assert dentry(lab, ROOT, b"f") == (0, 0)
    assert lab.inode(file) == inode


def test_remove_name_takes_a_directory_s_name_and_its_link(lab):
    folder = lab.mkdir(ROOT, b"d")
    commit(lab, remove_name(ROOT, b"d", folder, is_directory=True))
    assert (lab.inode(ROOT).nlink, lab.inode(ROOT).entry_count) == (2, 0)


def test_remove_name_wants_the_name_to_lead_where_it_did(lab):
    file = lab.create(ROOT, b"f")
    refuses(lab, c.SKIPPED, remove_name(ROOT, b"f", file + 1))
    refuses(lab, c.SKIPPED, remove_name(ROOT, b"none", file))
    refuses(lab, c.NOT_A_DIRECTORY, remove_name(file, b"f", file))
    refuses(lab, c.NOT_FOUND, remove_name(99, b"f", file))
    refuses(lab, c.WRONG_PARTITION, remove_name(ELSEWHERE, b"f", file))


@pytest.mark.parametrize(("type_", "links"), [(pb.REGULAR, 2), (DIRECTORY, 3)])
def test_put_name_gives_a_new_name(lab, type_, links):
    before = lab.inode(ROOT)
    (fact,) = commit(lab, put_name(ROOT, b"n", ELSEWHERE, type_))
    after = lab.inode(ROOT)
    assert (fact.inode_id, fact.type) == (0, 0)
    assert dentry(lab, ROOT, b"n") == (ELSEWHERE, type_)
    assert (after.nlink, after.entry_count, after.change) == (links, 1, before.change + 1)
    assert after.mtime_ns == after.ctime_ns == lab.time_ns


def test_put_name_replaces_and_says_what_was_there(lab):
    file, folder = lab.create(ROOT, b"f"), lab.mkdir(ROOT, b"d")
    facts = commit(
        lab,
        put_name(ROOT, b"f", ELSEWHERE, rule=t.PutName.ANY),
        put_name(ROOT, b"d", ELSEWHERE_TOO, DIRECTORY, t.PutName.ANY, expected=folder),
    )
    assert [(one.inode_id, one.type) for one in facts] == [(file, pb.REGULAR), (folder, DIRECTORY)]
    assert dentry(lab, ROOT, b"f") == (ELSEWHERE, pb.REGULAR)
    assert dentry(lab, ROOT, b"d") == (ELSEWHERE_TOO, DIRECTORY)
    assert (lab.inode(ROOT).nlink, lab.inode(ROOT).entry_count) == (3, 2)
    assert lab.inode(file).nlink == 1, "its link is another part's"


def test_put_name_exchanges_a_file_for_a_directory(lab):
    lab.create(ROOT, b"f")
    commit(lab, put_name(ROOT, b"f", ELSEWHERE, DIRECTORY, t.PutName.PRESENT))
    assert (lab.inode(ROOT).nlink, lab.inode(ROOT).entry_count) == (3, 1)


def test_put_name_refuses_what_rename_would(lab):
    file, folder = lab.create(ROOT, b"f"), lab.mkdir(ROOT, b"d")
    refuses(lab, c.ALREADY_EXISTS, put_name(ROOT, b"f", ELSEWHERE))
    refuses(lab, c.NOT_FOUND, put_name(ROOT, b"none", ELSEWHERE, rule=t.PutName.PRESENT))
    refuses(lab, c.IS_A_DIRECTORY, put_name(ROOT, b"d", ELSEWHERE, rule=t.PutName.ANY))
    refuses(lab, c.NOT_A_DIRECTORY, put_name(ROOT, b"f", ELSEWHERE, DIRECTORY, t.PutName.ANY))
    refuses(lab, c.SKIPPED, put_name(ROOT, b"f", ELSEWHERE, rule=t.PutName.ANY, expected=folder))
    refuses(lab, c.SKIPPED, put_name(ROOT, b"f", ELSEWHERE, rule=t.PutName.ANY, expected=0))
    refuses(lab, c.SKIPPED, put_name(ROOT, b"none", ELSEWHERE, rule=t.PutName.ANY, expected=file))
    refuses(lab, c.NOT_A_DIRECTORY, put_name(file, b"n", ELSEWHERE))
    refuses(lab, c.NAME_TOO_LONG, put_name(ROOT, b"n" * 256, ELSEWHERE))
    refuses(lab, c.INVALID_ARGUMENT, put_name(ROOT, b"..", ELSEWHERE))


def test_put_name_refuses_a_directory_that_was_removed(lab):
    folder = lab.mkdir(ROOT, b"d")
    lab.ok(rmdir=pb.Rmdir(parent=ROOT, name=b"d", held_inode=folder))
    refuses(lab, c.NOT_FOUND, put_name(folder, b"n", ELSEWHERE))


def with_links(lab, inode_id, count):
    """Set an inode's link count by hand: nobody makes two thousand million directories."""
    key = keys.of_inode(keys.INODE, FS, inode_id)
    inode = pb.Inode.FromString(lab.state.get(key))
    inode.nlink = count
    lab.state.put(key, inode.SerializeToString(deterministic=True))


def test_link_counts_have_an_end(lab):
    file, folder = lab.create(ROOT, b"f"), lab.mkdir(ROOT, b"d")
    with_links(lab, ROOT, LINK_COUNT_MAX)
    with_links(lab, file, LINK_COUNT_MAX)
    refuses(lab, c.TOO_MANY_LINKS, put_name(ROOT, b"n", ELSEWHERE, DIRECTORY))
    refuses(lab, c.TOO_MANY_LINKS, add_link(file))
    commit(lab, put_name(ROOT, b"d", ELSEWHERE, DIRECTORY, t.PutName.ANY, expected=folder))
    assert lab.inode(ROOT).nlink == LINK_COUNT_MAX


def test_add_link_counts_one_more_and_says_the_type(lab):
    file = lab.create(ROOT, b"f")
    before = lab.inode(file)
    (fact,) = commit(lab, add_link(file))
    after = lab.inode(file)
    assert fact.type == pb.REGULAR
    assert changes(before, after) == {"nlink", "change", "ctime_ns"}
    assert (after.nlink, after.change, after.ctime_ns) == (2, before.change + 1, lab.time_ns)


def test_add_link_wants_a_living_file(lab):
    file, folder = lab.create(ROOT, b"f"), lab.mkdir(ROOT, b"d")
    refuses(lab, c.NOT_PERMITTED, add_link(folder))
    lab.ok(unlink=pb.Unlink(parent=ROOT, name=b"f", held_inode=file))
    refuses(lab, c.NOT_FOUND, add_link(file))
    refuses(lab, c.NOT_FOUND, add_link(99))
    refuses(lab, c.WRONG_PARTITION, add_link(ELSEWHERE))


def test_drop_link_leaves_an_inode_with_other_names(lab):
    file = lab.create(ROOT, b"f")
    lab.ok(link=pb.Link(inode_id=file, new_parent=ROOT, new_name=b"g"))
    before = lab.inode(file)
    commit(lab, drop_link(file))
    after = lab.inode(file)
    assert (after.nlink, after.change, after.ctime_ns) == (1, before.change + 1, lab.time_ns)
    assert not lab.table(keys.DELETE)


def test_drop_link_of_the_last_name_purges(lab):
    file = lab.create(ROOT, b"f")
    lab.ok(set_attr=pb.SetAttr(inode_id=file, length=1000))
    commit(lab, drop_link(file))
    assert lab.inode(file) is None
    assert len(lab.table(keys.DELETE)) == 1
    counters = lab.read(stat_fs=pb.StatFs()).stat_fs
    assert (counters.inode_count, counters.used_bytes) == (1, 0)


def test_drop_link_leaves_what_its_session_holds(lab):
    file = lab.create(ROOT, b"f")
    commit(lab, drop_link(file, session_id=SESSION, held=True))
    assert lab.inode(file).nlink == 0
    lab.ok(release_inode=pb.ReleaseInode(inode_id=file))
    assert lab.inode(file) is None
    assert not lab.table(keys.WAITER) + lab.table(keys.HOLDING)


def test_drop_link_leaves_what_a_session_holds_that_was_not_seen_here_yet(lab):
    file, other = lab.create(ROOT, b"f"), b"o" * 16
    commit(lab, drop_link(file, session_id=other, held=True))
    assert lab.inode(file).nlink == 0
    lab.end(other)
    assert lab.inode(file) is None


def test_drop_link_purges_what_an_ended_session_held(lab):
    file, other = lab.create(ROOT, b"f"), b"o" * 16
    lab.open(other)
    prepare(lab, 1, drop_link(file, session_id=other, held=True))
    lab.end(other)
    finish(lab, 1, commit=True)
    assert lab.inode(file) is None
    assert not lab.table(keys.WAITER) + lab.table(keys.HOLDING)


def test_the_end_of_a_session_is_remembered_while_a_prepared_part_names_it(lab):
    file, other, opener = lab.create(ROOT, b"f"), b"\xff" * 16, b"\x01" * 16
    lab.open(other)
    prepare(lab, 1, drop_link(file, session_id=other, held=True))
    lab.end(other)
    lab.time_ns += sessions.TOMBSTONE_NS + 1
    lab.open(opener)
    finish(lab, 1, commit=True)
    assert lab.inode(file) is None
    assert not lab.table(keys.WAITER) + lab.table(keys.HOLDING)
    lab.end(opener)
    assert lab.state.get(keys.session(other)) is None


def test_drop_link_removes_an_empty_directory(lab):
    folder = lab.mkdir(ROOT, b"d")
    commit(lab, drop_link(folder, is_directory=True))
    assert lab.inode(folder) is None
    assert lab.read(stat_fs=pb.StatFs()).stat_fs.inode_count == 1


def test_drop_link_refuses_what_rmdir_and_unlink_would(lab):
    file, folder = lab.create(ROOT, b"f"), lab.mkdir(ROOT, b"d")
    lab.create(folder, b"x")
    refuses(lab, c.NOT_EMPTY, drop_link(folder, is_directory=True))
    refuses(lab, c.IS_A_DIRECTORY, drop_link(folder))
    refuses(lab, c.NOT_A_DIRECTORY, drop_link(file, is_directory=True))
    refuses(lab, c.WRONG_PARTITION, drop_link(ELSEWHERE))


def test_move_inode_sets_the_parent_and_ctime_only(lab):
    file, folder = lab.create(ROOT, b"f"), lab.mkdir(ROOT, b"d")
    for inode_id, is_directory in ((file, False), (folder, True)):
        before = lab.inode(inode_id)
        prepare(lab, inode_id, move_inode(inode_id, ELSEWHERE, is_directory=is_directory))
        finish(lab, inode_id, commit=True)
        after = lab.inode(inode_id)
        assert changes(before, after) == {"parent", "change", "ctime_ns"}
        assert (after.parent, after.change, after.ctime_ns) == (ELSEWHERE, before.change + 1, lab.time_ns)
    refuses(lab, c.WRONG_PARTITION, move_inode(ELSEWHERE, ROOT))


def test_new_directory_is_as_the_fact_said(lab):
    (fact,) = commit(lab, new_directory(0, ELSEWHERE, DIR | stat.S_ISGID, 5, 6))
    made = lab.inode(fact.inode_id)
    assert made == fact.inode
    assert (made.mode, made.uid, made.gid, made.nlink, made.parent) == (DIR | stat.S_ISGID, 5, 6, 2, ELSEWHERE)
    assert (made.change, made.entry_count, made.length) == (1, 0, 4096)
    assert lab.read(stat_fs=pb.StatFs()).stat_fs.inode_count == 2
    assert lab.mkdir(ROOT, b"d") != fact.inode_id


def test_numbers_of_new_directories_are_not_given_out_twice(lab):
    (first,) = prepare(lab, 1, new_directory(0, ELSEWHERE)).facts
    (second,) = prepare(lab, 2, new_directory(0, ELSEWHERE)).facts
    assert first.inode_id != second.inode_id
    finish(lab, 1, commit=False)
    finish(lab, 2, commit=True)
    assert lab.inode(first.inode_id) is None
    assert lab.inode(second.inode_id) == second.inode
    refuses(lab, c.WRONG_PARTITION, new_directory(5, ROOT))


def test_the_lock_on_moves_is_with_the_root(lab):
    assert prepare(lab, 1, move_lock()).facts is not None
    assert prepare(lab, 2, move_lock()).conflict.age.time_ns == 1
    finish(lab, 1, commit=True)
    assert prepare(lab, 2, move_lock()).facts is not None
    finish(lab, 2, commit=False)
    away = Lab(partitions=(3,))
    assert code_of(prepare(away, 1, move_lock())) == "WRONG_PARTITION"


def parts_of_all_kinds(lab):
    """Return (parts, the keys of what exists) to be prepared together."""
    file, folder, empty = lab.create(ROOT, b"f"), lab.mkdir(ROOT, b"d"), lab.mkdir(ROOT, b"e")
    linked, dropped = lab.create(ROOT, b"l"), lab.create(ROOT, b"x")
    return [
        remove_name(ROOT, b"f", file),
        put_name(folder, b"n", ELSEWHERE),
        put_name(ROOT, b"x", ELSEWHERE_TOO, rule=t.PutName.ANY),
        add_link(linked),
        drop_link(dropped, session_id=SESSION, held=True),
        drop_link(empty, is_directory=True),
        move_inode(folder, ELSEWHERE, is_directory=True),
        new_directory(0, ELSEWHERE),
        move_lock(),
    ]


def without_numbers(pairs):
    """Leave out which inode number comes next: one that was reserved is not given out again."""
    shown = dict(pairs)
    for key, value in pairs.items():
        if key[:1] == keys.PARTITION:
            record = state_pb2.PartitionRecord.FromString(value)
            record.next_inode = 0
            shown[key] = record.SerializeToString(deterministic=True)
    return shown


def test_what_is_prepared_changes_nothing_visible_and_an_abort_leaves_nothing(lab):
    parts = parts_of_all_kinds(lab)
    before = without_numbers(pairs_of(lab, without=LOCKS))
    assert prepare(lab, 1, *parts).facts is not None
    assert without_numbers(pairs_of(lab, without=LOCKS)) == before
    assert lab.table(keys.LOCK)
    finish(lab, 1, commit=False)
    assert without_numbers(pairs_of(lab, without=LOCKS)) == before
    assert not lab.table(keys.LOCK) + lab.table(keys.PREPARED)


def test_what_one_part_refuses_leaves_no_other_prepared(lab):
    parts = parts_of_all_kinds(lab)
    refuses(lab, c.NOT_FOUND, *parts, add_link(99))
    assert not lab.table(keys.LOCK) + lab.table(keys.PREPARED)


def test_a_directory_that_loses_and_gains_a_name_counts_one_change(lab):
    file = lab.create(ROOT, b"f")
    before = lab.inode(ROOT)
    commit(lab, remove_name(ROOT, b"f", file), put_name(ROOT, b"g", file))
    after = lab.inode(ROOT)
    assert (after.change, after.entry_count) == (before.change + 1, 1)


def test_a_commit_counts_on_what_others_did_meanwhile(lab):
    prepare(lab, 1, put_name(ROOT, b"d", ELSEWHERE, DIRECTORY))
    lab.mkdir(ROOT, b"mine")
    lab.ok(set_attr=pb.SetAttr(inode_id=ROOT, mode=0o700))
    finish(lab, 1, commit=True)
    root = lab.inode(ROOT)
    assert (root.nlink, root.entry_count, stat.S_IMODE(root.mode)) == (4, 2, 0o700)
