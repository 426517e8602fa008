"""The LMDB state: all or nothing, and when it is trusted."""

import contextlib
import errno
import subprocess
from pathlib import Path

import lmdb
import pytest

from curvefs.src.common.errors import NoSpace, StartupError
from curvefs.src.common.exits import ExitCode
from curvefs.src.metaserver.storage.checkpoint import Checkpoints
from curvefs.src.metaserver.storage.environment import Applied, Environment

SIZE = 64 << 20


def opened(folder, boot="this boot", size=SIZE):
    folder.mkdir(exist_ok=True)
    return Environment(folder, map_size=size, boot_id=boot)


def put(environment, index, **pairs):
    with environment.write() as txn:
        for key, value in pairs.items():
            txn.put(key.encode(), value)
        applied = Applied(index, 1, index * 10)
        environment.put_applied(txn, applied)
    environment.applied = applied


def get(environment, key):
    with environment.read() as view:
        return view.get(key.encode())


def test_scan_is_ascending_exclusive_of_its_end_and_limited(tmp_path):
    environment = opened(tmp_path / "g")
    put(environment, 1, a=b"1", b=b"2", c=b"3", d=b"4")
    with environment.read() as view:
        assert list(view.scan(b"b", b"d")) == [(b"b", b"2"), (b"c", b"3")]
        assert list(view.scan(b"a", b"d", 2)) == [(b"a", b"1"), (b"b", b"2")]
        assert list(view.scan(b"a", b"d", 0)) == []
        assert list(view.scan(b"x", b"z")) == []
    environment.close()


def test_a_transaction_that_fails_changes_nothing(tmp_path):
    environment = opened(tmp_path / "g")
    put(environment, 1, a=b"old")
    with contextlib.suppress(KeyError), environment.write() as txn:
        txn.put(b"a", b"new")
        raise KeyError
    assert get(environment, "a") == b"old"
    environment.close()


def test_a_process_that_dies_leaves_a_trusted_state_in_the_same_boot(tmp_path):
    put(opened(tmp_path / "g"), 5, a=b"1")  # never closed
    again = opened(tmp_path / "g")
    assert (again.discarded, again.applied, get(again, "a")) == (False, Applied(5, 1, 50), b"1")
    again.close()


def test_a_clean_stop_is_trusted_in_the_next_boot(tmp_path):
    environment = opened(tmp_path / "g")
    put(environment, 5, a=b"1")
    environment.close()
    again = opened(tmp_path / "g", "next boot")
    assert (again.discarded, again.applied.index) == (False, 5)
    again.close()


def test_an_unclean_stop_of_the_machine_discards_the_state(tmp_path):
    put(opened(tmp_path / "g"), 5, a=b"1")
    again = opened(tmp_path / "g", "next boot")
    assert (again.discarded, again.applied, get(again, "a")) == (True, Applied(), None)
    again.close()


def test_a_clean_stop_counts_only_once(tmp_path):
    environment = opened(tmp_path / "g")
    put(environment, 5)
    environment.close()
    opened(tmp_path / "g", "next boot")  # dies with the machine
    assert opened(tmp_path / "g", "the boot after").discarded


def test_a_state_without_a_readable_mark_is_not_trusted(tmp_path):
    environment = opened(tmp_path / "g")
    put(environment, 5)
    environment.close()
    (tmp_path / "g" / "state.mark").write_text("nonsense")
    assert opened(tmp_path / "g").discarded


def test_a_newer_mark_is_refused(tmp_path):
    opened(tmp_path / "g").close()
    (tmp_path / "g" / "state.mark").write_text('{"format": 2, "boot_id": "", "clean": true}')
    with pytest.raises(StartupError) as caught:
        opened(tmp_path / "g")
    assert caught.value.exit_code is ExitCode.DATA_FOLDER


def test_at_its_size_limit_the_state_stays_as_it_was(tmp_path):
    environment = opened(tmp_path / "g", size=1 << 20)
    put(environment, 1, a=b"1")
    with pytest.raises(NoSpace, match="size limit"):
        put(environment, 2, a=b"2", big=bytes(2 << 20))
    assert (get(environment, "a"), environment.applied.index) == (b"1", 1)
    put(environment, 2, a=b"2")
    environment.close()


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_on_a_full_disk_the_state_stays_as_it_was_and_heals(small_disk):
    environment = opened(small_disk / "g")
    put(environment, 1, a=b"1")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(3 << 20))
    with pytest.raises(NoSpace, match="no room"):
        put(environment, 2, a=b"2", big=bytes(2 << 20))
    assert (get(environment, "a"), environment.applied.index) == (b"1", 1)
    ballast.unlink()
    put(environment, 2, a=b"2", big=bytes(2 << 20))
    assert get(environment, "a") == b"2"
    environment.close()


def test_a_checkpoint_restores_the_state_byte_for_byte(tmp_path):
    environment = opened(tmp_path / "g")
    put(environment, 7, a=b"1", b=b"2")
    checkpoints = Checkpoints(tmp_path / "c")
    assert checkpoints.make(environment).index == 7
    put(environment, 8, a=b"changed")
    newest = Checkpoints(tmp_path / "c").newest_good()
    assert newest is not None
    environment.restore(newest.path)
    assert (get(environment, "a"), get(environment, "b"), environment.applied.index) == (b"1", b"2", 7)
    environment.close()


def test_the_last_two_checkpoints_are_kept_and_the_older_is_the_base(tmp_path):
    environment = opened(tmp_path / "g")
    checkpoints = Checkpoints(tmp_path / "c")
    bases = []
    for index in (3, 6, 9):
        put(environment, index)
        checkpoints.make(environment)
        bases.append(checkpoints.base_index)
    assert bases == [0, 3, 6]
    again = Checkpoints(tmp_path / "c")
    assert [one.index for one in again.kept] == [6, 9]
    assert len(list((tmp_path / "c").iterdir())) == 4
    environment.close()


@pytest.mark.parametrize("harm", ["byte", "short", "gone"])
def test_a_damaged_checkpoint_is_passed_over_for_the_older(tmp_path, harm):
    environment = opened(tmp_path / "g")
    checkpoints = Checkpoints(tmp_path / "c")
    for index in (3, 6):
        put(environment, index, a=str(index).encode())
        checkpoints.make(environment)
    environment.close()
    path = checkpoints.kept[-1].path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data if harm == "byte" else data[:-1])
    if harm == "gone":
        path.unlink()
    good = Checkpoints(tmp_path / "c").newest_good()
    assert good is not None
    assert good.index == 3


def test_a_checkpoint_without_its_description_does_not_count(tmp_path):
    environment = opened(tmp_path / "g")
    checkpoints = Checkpoints(tmp_path / "c")
    put(environment, 3)
    checkpoints.make(environment)
    (tmp_path / "c" / "0000000002.mdb").write_bytes(b"half")
    again = Checkpoints(tmp_path / "c")
    assert [one.index for one in again.kept] == [3]
    put(environment, 4)
    assert again.make(environment).number == 2
    environment.close()


def test_a_view_that_somebody_still_refers_to_takes_no_place_of_a_reader(tmp_path):
    environment = opened(tmp_path / "g")
    put(environment, 1, a=b"1")
    views, errors = [], []
    for _ in range(1000):
        with environment.read() as view:
            views.append(view)
        try:
            with environment.read() as view:
                raise KeyError(view.get(b"a"))
        except KeyError as error:
            errors.append(error)  # and all frames on its way
    with pytest.raises(AssertionError, match="ended"):
        views[0].get(b"a")
    assert get(environment, "a") == b"1"
    environment.close()


class Failing:
    """An LMDB environment below which the disk does not take what was written; it says so once, as Linux does."""

    def __init__(self, real):
        self.real = real
        self.told = False

    def sync(self, force):
        if not self.told:
            self.told = True
            raise lmdb.DiskError("mdb_env_sync: Input/output error")

    def __getattr__(self, name):
        return getattr(self.real, name)


def failing(folder):
    environment = opened(folder)
    put(environment, 5, a=b"1")
    environment._env = Failing(environment._env)
    return environment


def test_a_state_that_could_not_be_synced_at_its_end_is_not_trusted_in_the_same_boot(tmp_path):
    environment = failing(tmp_path / "g")
    with pytest.raises(OSError, match="has not taken the state"):
        environment.close()
    again = opened(tmp_path / "g")
    assert again.discarded
    again.close()


def test_a_state_that_the_disk_has_not_taken_is_neither_copied_nor_trusted(tmp_path):
    environment = failing(tmp_path / "g")
    for _ in range(2):
        with pytest.raises(OSError, match="has not taken the state"):
            Checkpoints(tmp_path / "c").make(environment)
    assert environment.is_lost
    assert Checkpoints(tmp_path / "c").kept == []
    put(environment, 6, a=b"2")
    environment._env.close()  # as kill -9
    assert opened(tmp_path / "g").discarded


def test_what_a_process_that_died_has_left_to_a_disk_that_does_not_take_it_is_discarded(tmp_path, monkeypatch):
    put(opened(tmp_path / "g"), 5, a=b"1")  # never closed
    with monkeypatch.context() as broken:
        broken.setattr("os.fdatasync", _eio)
        again = opened(tmp_path / "g")
    assert again.discarded
    again.close()


def _eio(*_):
    raise OSError(errno.EIO, "Input/output error")


def test_a_state_that_is_thrown_away_is_closed_though_the_disk_takes_nothing(tmp_path):
    environment = failing(tmp_path / "g")
    environment.close(keep=False)
    environment.close()


@pytest.mark.parametrize("harmed", ["*.mdb", "*.json"])
def test_a_checkpoint_that_cannot_be_read_is_passed_over_for_the_older(tmp_path, monkeypatch, harmed):
    environment = opened(tmp_path / "g")
    checkpoints = Checkpoints(tmp_path / "c")
    for index in (1, 2):
        put(environment, index, a=b"1")
        checkpoints.make(environment)
    environment.close()
    bad = max((tmp_path / "c").glob(harmed))
    open_ = Path.open

    def unreadable(path, *args, **kwargs):
        return _eio() if path == bad else open_(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", unreadable)
    good = Checkpoints(tmp_path / "c").newest_good()
    assert good is not None
    assert good.index == 1


def test_a_checkpoint_that_may_not_be_read_is_not_forgotten(tmp_path, monkeypatch):
    environment = opened(tmp_path / "g")
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.make(environment)
    environment.close()

    def refused(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as full:
        full.setattr("curvefs.src.metaserver.storage.checkpoint._checksum", refused)
        with pytest.raises(OSError, match="Too many"):
            checkpoints.newest_good()
    assert checkpoints.newest_good() is not None
