"""Another state in the place of the one in use: whenever the process dies, the old one is found or the new one."""

import os
import sys
import traceback

import pytest

from curvefs.src.metaserver.storage.checkpoint import Checkpoints
from curvefs.src.metaserver.storage.environment import Applied, Environment, StateBuilder

SIZE = 64 << 20
CHANGES = {"rename", "replace", "link", "unlink", "mkdir", "rmdir", "open", "write", "sendfile", "fsync", "close"}


def opened(folder, boot="this boot"):
    folder.mkdir(exist_ok=True)
    return Environment(folder, map_size=SIZE, boot_id=boot)


def put(environment, index):
    applied = Applied(index, 1, index * 10)
    with environment.write() as txn:
        txn.put(b"a", str(index).encode())
        environment.put_applied(txn, applied)
    environment.applied = applied


def built(folder, index):
    """Make a state folder that is not in use."""
    other = opened(folder.with_name("other"))
    put(other, index)
    with other.read() as view, StateBuilder(folder, map_size=SIZE) as builder:
        builder.add(list(view.pairs()))
        builder.sync()
    other.close()
    return folder


def seen(environment):
    with environment.read() as view:
        assert environment.applied_in(view) == environment.applied
        return environment.applied.index, view.get(b"a")


def dies_before(step, action):
    """Run an action in a process that dies before the n-th call that may change a disk; say whether it did."""
    child = os.fork()
    if child == 0:
        count = 0

        def profile(frame, event, function):
            nonlocal count
            if event == "c_call" and function.__name__ in CHANGES:
                count += 1
                if count == step:
                    os._exit(1)

        try:
            sys.setprofile(profile)
            action()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(2)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 1)
    return status == 1


def test_a_process_that_dies_while_a_state_is_replaced_leaves_the_old_or_the_new(tmp_path):
    found = []
    step = 0
    died = True
    while died:
        step += 1
        folder, new = tmp_path / str(step), tmp_path / f"{step}.new"
        environment = opened(folder)
        put(environment, 1)
        del environment  # dies
        built(new, 2)
        died = dies_before(step, lambda folder=folder, new=new: opened(folder).replace(new))
        again = opened(folder)
        assert not again.discarded
        found.append(seen(again))
        put(again, 3)
        assert seen(again) == (3, b"3")
        again.close()
    assert step > 8
    turn = found.index((2, b"2"))
    assert found == [(1, b"1")] * turn + [(2, b"2")] * (len(found) - turn)
    assert 0 < turn < len(found)


def test_a_process_that_dies_while_a_state_is_rebuilt_rebuilds_it_again(tmp_path):
    source = opened(tmp_path / "source")
    put(source, 4)
    checkpoint = Checkpoints(tmp_path / "c").make(source)
    source.close()

    def recover(folder):
        environment = opened(folder, "next boot")
        if environment.discarded:
            environment.restore(checkpoint.path)
        return environment

    step = 0
    died = True
    while died:
        step += 1
        folder = tmp_path / str(step)
        environment = opened(folder)
        put(environment, 5)
        del environment  # dies with the machine
        died = dies_before(step, lambda folder=folder: recover(folder))
        again = recover(folder)
        assert seen(again) == (4, b"4")
        again.close()
        assert sorted(path.name for path in folder.iterdir()) == ["state", "state.mark"]
    assert step > 20


def test_a_state_that_was_restored_is_trusted_at_once(tmp_path):
    environment = opened(tmp_path / "g")
    put(environment, 5)
    checkpoint = Checkpoints(tmp_path / "c").make(environment)
    del environment  # dies with the machine
    opened(tmp_path / "g", "next boot").restore(checkpoint.path)  # dies
    again = opened(tmp_path / "g", "next boot")
    assert (again.discarded, seen(again)) == (False, (5, b"5"))
    again.close()


def test_a_state_that_is_rebuilt_from_the_log_alone_is_trusted_from_the_first_write(tmp_path):
    put(opened(tmp_path / "g"), 5)
    for _ in range(2):
        empty = opened(tmp_path / "g", "next boot")
        assert (empty.discarded, seen(empty)) == (True, (0, None))
        del empty  # dies
    again = opened(tmp_path / "g", "next boot")
    put(again, 1)
    del again  # dies
    again = opened(tmp_path / "g", "next boot")
    assert (again.discarded, seen(again)) == (False, (1, b"1"))
    again.close()


def test_a_discarded_state_that_was_closed_before_anything_took_its_place_is_discarded_again(tmp_path):
    put(opened(tmp_path / "g"), 5)
    opened(tmp_path / "g", "next boot").close()
    again = opened(tmp_path / "g", "next boot")
    assert again.discarded
    again.close()


def test_a_replaced_state_is_whole_after_a_clean_stop(tmp_path):
    environment = opened(tmp_path / "g")
    put(environment, 1)
    environment.replace(built(tmp_path / "new", 2))
    environment.close()
    again = opened(tmp_path / "g", "next boot")
    assert (again.discarded, seen(again)) == (False, (2, b"2"))
    again.close()


def test_views_of_a_replaced_state_go_on_and_its_room_is_freed_after_the_last(tmp_path):
    environment = opened(tmp_path / "g")
    put(environment, 1)
    with environment.read() as view:
        environment.replace(built(tmp_path / "new", 2))
        assert view.get(b"a") == b"1"
        assert seen(environment) == (2, b"2")
        put(environment, 3)
        assert view.get(b"a") == b"1"
        assert _deleted_files_open(tmp_path)
    del view
    assert not (tmp_path / "new").exists()
    assert not _deleted_files_open(tmp_path)
    environment.close()


def _deleted_files_open(folder):
    links = [os.readlink(f"/proc/self/fd/{one}") for one in os.listdir("/proc/self/fd") if _is_open(one)]
    return [link for link in links if link.startswith(str(folder)) and link.endswith("(deleted)")]


def _is_open(descriptor):
    return os.path.lexists(f"/proc/self/fd/{descriptor}")


def test_a_state_that_cannot_take_the_place_leaves_the_old_one(tmp_path):
    environment = opened(tmp_path / "g")
    put(environment, 1)
    (tmp_path / "new").mkdir()
    with pytest.raises(OSError):
        environment.replace(tmp_path / "new")
    assert seen(environment) == (1, b"1")
    put(environment, 2)
    environment.close()
    again = opened(tmp_path / "g")
    assert seen(again) == (2, b"2")
    again.close()
