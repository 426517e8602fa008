"""The data folder of `up`: versions, locks, settings, ports."""

import json
import os
import random
import socket
import stat

import pytest
from curvefs_tool import state

from curvefs.src.client.runtime import start_time
from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode
from curvefs.src.object.url import parse_store_url


def refused(call, *arguments):
    with pytest.raises(StartupError) as caught:
        call(*arguments)
    assert caught.value.exit_code == ExitCode.DATA_FOLDER
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_folder_is_made_for_its_owner_alone(tmp_path):
    data = tmp_path / "a" / "b"
    state.prepare(data)
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    state.prepare(data)


def test_a_folder_of_a_newer_version_is_refused(tmp_path):
    state.prepare(tmp_path)
    (tmp_path / "format").write_text("2\n")
    assert "is of version 2; this version knows up to 1" in refused(state.prepare, tmp_path)


@pytest.mark.parametrize("text", ["", "nonsense", "-1"])
def test_a_folder_with_an_unreadable_version_is_refused(tmp_path, text):
    state.prepare(tmp_path)
    (tmp_path / "format").write_text(text)
    refused(state.prepare, tmp_path)


def test_a_folder_of_something_else_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "photos").mkdir()
    assert "not empty" in refused(state.prepare, tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["photos"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    assert "File exists" in refused(state.prepare, tmp_path / "file")
    assert "Not a directory" in refused(state.prepare, tmp_path / "file" / "below")


def test_one_process_at_a_time_has_the_folder(tmp_path):
    held = state.lock(tmp_path)
    assert "already in use" in refused(state.lock, tmp_path)
    os.close(held)
    os.close(state.lock(tmp_path))


def test_the_first_settings_are_kept_with_their_ports(tmp_path):
    first = state.settle(tmp_path, None, None, 2)
    assert (first.fs, first.object_store, first.metaservers) == ("demo", f"file://{tmp_path}/objects", 2)
    assert set(first.ports) == {"mds", "metaserver-1", "metaserver-2"}
    assert state.settle(tmp_path, None, None, None) == first
    assert state.settle(tmp_path, "demo", f"file://{tmp_path}/objects", 2) == first


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("other", None, None), "was made with --fs demo; it cannot be run with --fs other"),
        ((None, "file:///x", None), "--object-store file:///x"),
        ((None, None, 3), "was made with --metaservers 1; it cannot be run with --metaservers 3"),
        (("other", None, 3), "was made with --fs demo --metaservers 1"),
    ],
)
def test_differing_settings_are_refused_by_name(tmp_path, asked, words):
    state.settle(tmp_path, None, None, None)
    assert words in refused(state.settle, tmp_path, *asked)


@pytest.mark.parametrize("text", ["", "nonsense", "[]", '{"format": 1, "unknown": 2}', '{"fs": "demo"}'])
def test_damaged_settings_are_refused(tmp_path, text):
    (tmp_path / "cluster.json").write_text(text)
    assert "cluster.json" in refused(state.load_settings, tmp_path)


def test_three_replicas_are_the_default_where_there_are_three_metaservers(tmp_path):
    for metaservers, replicas in [(1, 1), (2, 1), (3, 3), (5, 3)]:
        folder = tmp_path / str(metaservers)
        folder.mkdir()
        assert state.settle(folder, None, None, metaservers).replicas == replicas
        assert state.load_settings(folder).replicas == replicas
    folder = tmp_path / "asked"
    folder.mkdir()
    assert state.settle(folder, None, None, 5, 5).replicas == 5
    assert "was made with --replicas 5" in refused(state.settle, folder, None, None, None, 3)


def test_more_replicas_than_metaservers_are_refused(tmp_path):
    with pytest.raises(StartupError, match="3 replicas need 3 metaservers, not 2") as caught:
        state.settle(tmp_path, None, None, 2, 3)
    assert caught.value.exit_code == ExitCode.USAGE
    assert list(tmp_path.iterdir()) == []


def test_settings_of_before_there_were_replicas_have_one(tmp_path):
    state.settle(tmp_path, None, None, 3)
    kept = json.loads((tmp_path / "cluster.json").read_text())
    del kept["replicas"]
    (tmp_path / "cluster.json").write_text(json.dumps(kept))
    assert state.settle(tmp_path, None, None, 3).replicas == 1


def test_a_folder_with_any_name_has_an_object_store_that_can_be_read(tmp_path):
    data = tmp_path / "50% off #1?"
    data.mkdir()
    settings = state.settle(data, None, None, None)
    assert parse_store_url(settings.object_store).folder == data / "objects"


def test_ports_are_free_distinct_and_not_those_of_outgoing_connections():
    low, high = map(int, state._PORT_RANGE.read_text().split())
    ports = state.free_ports(5, random.Random(1))
    assert len(set(ports)) == 5
    assert not any(low <= port <= high for port in ports)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports[0]))
        taken.listen()
        assert ports[0] not in state.free_ports(5, random.Random(1))


def test_a_process_is_running_only_with_its_own_start_time(tmp_path):
    made = state.ClusterState(tmp_path)
    (tmp_path / "run").mkdir()
    started = start_time(os.getpid())
    made.processes = {"one": state.ProcessRecord(os.getpid(), started + 1)}
    made.starting = {"two": state.ProcessRecord(os.getpid(), started + 1, "/mnt")}
    made.save()
    loaded = state.ClusterState.load(tmp_path)
    assert loaded == made
    assert not loaded.any_running
    loaded.starting["two"].started = started
    assert loaded.any_running


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}", '{"processes": {"a": {"b": 1}}, "starting": {}}'])
def test_a_state_that_cannot_be_read_counts_as_none(tmp_path, text):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "state.json").write_text(text)
    assert state.ClusterState.load(tmp_path) == state.ClusterState(tmp_path)


def test_written_files_are_their_owners_alone_and_whole(tmp_path):
    state.write_json(tmp_path / "x", {"a": 1})
    state.write_json(tmp_path / "x", {"a": 2})
    assert json.loads((tmp_path / "x").read_text()) == {"a": 2}
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["x"]


def test_what_a_failed_first_start_made_is_discarded(tmp_path):
    data, kept = tmp_path / "data", tmp_path / "kept"
    for folder in (data, kept):
        state.prepare(folder)
        state.settle(folder, None, None, None)
    (data / "link").symlink_to(kept)
    state.discard(data, folder_too=True)
    assert not data.exists()
    state.discard(kept, folder_too=False)
    assert list(kept.iterdir()) == []
