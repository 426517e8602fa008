"""Snapshots as files: consistent, all or nothing, refused when damaged."""

import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curvefs.src.common.errors import CorruptData, NoSpace, Unavailable, VersionUnsupported
from curvefs.src.metaserver.storage import keys, snapshot_format
from curvefs.src.metaserver.storage.checkpoint import Checkpoints
from curvefs.src.metaserver.storage.environment import Applied, Environment
from curvefs.src.metaserver.storage.snapshot import load_snapshot, write_snapshot
from curvefs.src.metaserver.storage.snapshot_format import Header, encode

SIZE = 64 << 20
STATES = st.dictionaries(
    st.binary(min_size=1, max_size=511).filter(lambda key: key[:1] != keys.META), st.binary(max_size=9000), max_size=30
)


def opened(folder, boot="this boot"):
    folder.mkdir(exist_ok=True)
    return Environment(folder, map_size=SIZE, boot_id=boot)


def put(environment, index, state, configuration=b""):
    applied = Applied(index, 3, index * 10)
    with environment.write() as txn:
        for key, value in state.items():
            txn.put(key, value)
        if configuration:
            environment.put_configuration(txn, configuration)
        environment.put_applied(txn, applied)
    environment.applied = applied


def state_of(environment):
    with environment.read() as view:
        return {key: value for key, value in view.pairs() if not key.startswith(keys.META)}


def never():
    return False


def write(environment, path, *, should_stop=never, **limits):
    return write_snapshot(environment, path, configuration=b"first", should_stop=should_stop, **limits)


def load(path, state, size=SIZE, should_stop=never):
    return load_snapshot(path, state, map_size=size, should_stop=should_stop)


@pytest.fixture
def environment(tmp_path):
    environment = opened(tmp_path / "g")
    yield environment
    if not environment.is_closing:
        environment.close()


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(snapshot_format, "BLOCK_SIZE", 40)


@settings(max_examples=40, deadline=None)
@given(STATES, st.binary(max_size=20), st.integers(1, 20_000))
def test_what_was_written_is_loaded(state, configuration, block_size):
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot_format, "BLOCK_SIZE", block_size)
        folder = Path(name)
        source, target = opened(folder / "a"), opened(folder / "b")
        put(source, 7, state, configuration)
        put(target, 3, {b"other": b"1"})
        header = write(source, folder / "s")
        assert load(folder / "s", folder / "new") == header
        target.replace(folder / "new")
        said = configuration or b"first"
        assert (header.index, header.term, header.time_ns, header.configuration) == (7, 3, 70, said)
        assert (state_of(target), target.applied) == (state, Applied(7, 3, 70))
        with target.read() as view:
            assert target.configuration_in(view) == said
        source.close()
        target.close()


def test_writes_that_go_on_are_not_in_it(tmp_path, environment, small_blocks):
    state = {b"k%02d" % number: b"old" for number in range(50)}
    put(environment, 5, state, b"old members")
    asked = []

    def change():
        asked.append(1)
        put(environment, 5 + len(asked), {b"k%02d" % (50 - len(asked)): b"new"}, b"new members")
        return False

    header = write(environment, tmp_path / "s", should_stop=change)
    assert len(asked) > 10
    assert (header.index, header.configuration, header.pairs) == (5, b"old members", 53)
    load(tmp_path / "s", tmp_path / "new")
    environment.replace(tmp_path / "new")
    assert (state_of(environment), environment.applied.index) == (state, 5)


def test_a_snapshot_made_again_is_the_same_to_the_byte(tmp_path, environment, small_blocks):
    put(environment, 5, {b"a": b"1", b"b": bytes(100)})
    write(environment, tmp_path / "one")
    write(environment, tmp_path / "two")
    load(tmp_path / "one", tmp_path / "new")
    environment.replace(tmp_path / "new")
    write(environment, tmp_path / "three")
    one, two, _ = ((tmp_path / name).read_bytes() for name in ("one", "two", "three"))
    assert one == two
    assert load(tmp_path / "three", tmp_path / "new").configuration == b"first"


def test_a_state_in_which_nothing_was_applied_has_the_first_configuration(tmp_path, environment):
    header = write(environment, tmp_path / "s")
    assert header == Header(0, 0, 0, 0, b"first")
    assert load(tmp_path / "s", tmp_path / "new") == header


def test_reading_beyond_the_time_limit_is_given_up(tmp_path, environment, small_blocks):
    put(environment, 5, {b"k%02d" % number: b"v" for number in range(50)})
    times = iter(range(100, 200))
    with pytest.raises(Unavailable, match="took longer than 5 s"):
        write(environment, tmp_path / "s", time_limit_s=5, now=lambda: next(times))
    assert next(times) < 110
    assert [path.name for path in tmp_path.iterdir()] == ["g"]


def test_a_snapshot_that_is_not_wanted_any_more_is_given_up(tmp_path, environment, small_blocks):
    put(environment, 5, {b"k%02d" % number: b"v" for number in range(50)})
    with pytest.raises(Unavailable, match="given up"):
        write(environment, tmp_path / "s", should_stop=iter([False, False, True]).__next__)
    assert [path.name for path in tmp_path.iterdir()] == ["g"]
    write(environment, tmp_path / "s")
    with pytest.raises(Unavailable, match="given up"):
        load(tmp_path / "s", tmp_path / "new", should_stop=iter([False, False, True]).__next__)
    assert not (tmp_path / "new").exists()


def test_who_closes_the_state_waits_until_its_reader_gave_up(tmp_path, environment, small_blocks):
    put(environment, 5, {b"k%02d" % number: b"v" for number in range(50)})
    closer = threading.Thread(target=environment.close)

    def close_meanwhile():
        if not closer.ident:
            closer.start()
            deadline = time.monotonic() + 30
            while not environment.is_closing and time.monotonic() < deadline:
                time.sleep(0.001)
            closer.join(0.2)
        assert closer.is_alive()
        return False

    with pytest.raises(Unavailable, match="given up"):
        write(environment, tmp_path / "s", should_stop=close_meanwhile)
    closer.join(30)
    assert not closer.is_alive()
    with pytest.raises(Unavailable, match="is being closed"):
        write(environment, tmp_path / "s")
    again = opened(tmp_path / "g", "next boot")
    assert (again.discarded, again.applied.index) == (False, 5)
    again.close()


def test_no_changed_byte_and_no_part_is_loaded(tmp_path, environment, small_blocks):
    put(environment, 5, {b"a": b"1", b"b": bytes(20)}, b"members")
    good, bad, state = tmp_path / "good", tmp_path / "bad", tmp_path / "new"
    write(environment, good)
    data = good.read_bytes()
    changes = [data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :] for at in range(len(data))]
    for changed in [*changes, *(data[:size] for size in range(len(data))), data + b"\0"]:
        bad.write_bytes(changed)
        with pytest.raises((CorruptData, VersionUnsupported), match=str(bad)) as caught:
            load(bad, state)
        assert caught.type is VersionUnsupported or "byte" in str(caught.value)
        assert not state.exists()


@pytest.mark.parametrize(
    "header",
    [Header(6, 3, 50, 4, b"m"), Header(5, 4, 50, 4, b"m"), Header(5, 3, 51, 4, b"m"), Header(5, 3, 50, 4, b"n")],
)
def test_a_header_that_contradicts_the_state_is_damage(tmp_path, environment, header):
    put(environment, 5, {b"a": b"1"}, b"m")
    with environment.read() as view:
        pairs = list(view.pairs())
    (tmp_path / "s").write_bytes(b"".join(encode(header, pairs)))
    with pytest.raises(CorruptData, match=r"s, byte 0: the header speaks"):
        load(tmp_path / "s", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_newer_state_is_refused_by_name(tmp_path):
    pairs = [(keys.META + b"format", (2).to_bytes(4, "big"))]
    (tmp_path / "s").write_bytes(b"".join(encode(Header(0, 0, 0, 1, b""), pairs)))
    with pytest.raises(VersionUnsupported, match=r"the state in .*/s is of version 2; .* knows up to 1"):
        load(tmp_path / "s", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_state_beyond_the_size_limit_is_not_loaded(tmp_path, environment):
    put(environment, 5, {b"a": bytes(2 << 20)})
    write(environment, tmp_path / "s")
    with pytest.raises(NoSpace, match="size limit"):
        load(tmp_path / "s", tmp_path / "new", size=1 << 20)
    assert not (tmp_path / "new").exists()


def test_what_an_interrupted_load_left_is_replaced(tmp_path, environment):
    put(environment, 5, {b"a": b"1"})
    write(environment, tmp_path / "s")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "data.mdb").write_bytes(b"half")
    assert load(tmp_path / "s", tmp_path / "new").index == 5


def test_a_loaded_state_becomes_a_checkpoint_before_it_is_used(tmp_path, environment):
    put(environment, 5, {b"a": b"1"})
    write(environment, tmp_path / "s")
    load(tmp_path / "s", tmp_path / "new")
    checkpoints = Checkpoints(tmp_path / "c")
    assert checkpoints.adopt(tmp_path / "new", 5).index == 5
    environment.replace(tmp_path / "new")
    put(environment, 6, {b"a": b"changed"})
    newest = Checkpoints(tmp_path / "c").newest_good()
    assert newest is not None
    environment.restore(newest.path)
    assert (state_of(environment), environment.applied.index) == ({b"a": b"1"}, 5)
