"""The data folder of `up`: versions, locks, ports."""

import errno
import json
import os
import random
import socket
import stat

import pytest
from curvefs_tool import state

from curvefs.src.client.runtime import start_time
from curvefs.src.common import machine
from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode
from curvefs.src.process.data_folder import MDS, DataFolder


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
    assert refused(state.prepare, tmp_path / "file") == f"{tmp_path / 'file'} is no folder"
    assert "Not a directory" in refused(state.prepare, tmp_path / "file" / "below")


def test_a_folder_of_a_server_is_refused(tmp_path):
    DataFolder(tmp_path, MDS).close()
    assert "is the data folder of a server" in refused(state.prepare, tmp_path)


def test_one_process_at_a_time_has_the_folder(tmp_path):
    held = state.lock(tmp_path)
    assert "already in use" in refused(state.lock, tmp_path)
    os.close(held)
    os.close(state.lock(tmp_path))


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
        (folder / "cluster.json").touch()
    (data / "link").symlink_to(kept)
    state.discard(data, folder_too=True)
    assert not data.exists()
    state.discard(kept, folder_too=False)
    assert list(kept.iterdir()) == []


def test_a_failed_first_start_on_a_new_disk_leaves_it_a_new_disk(tmp_path):
    (tmp_path / "lost+found").mkdir()
    state.prepare(tmp_path)
    state.discard(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["lost+found"]


@pytest.mark.parametrize("name", ["lost+found", "lock", "format.new"])
def test_a_new_disk_and_what_a_start_that_was_cut_off_left_are_no_obstacle(tmp_path, name):
    (tmp_path / name).touch()
    state.prepare(tmp_path)
    assert state.is_new(tmp_path)


def test_settings_that_were_cut_off_are_none(tmp_path):
    state.prepare(tmp_path)
    (tmp_path / "cluster.json.new").touch()
    assert state.is_new(tmp_path)
    (tmp_path / "cluster.json").touch()
    assert not state.is_new(tmp_path)


def test_a_disk_that_is_full_after_the_version_was_written_is_one_line(tmp_path, monkeypatch):
    made = state.Path.mkdir

    def mkdir(path, *words, **more):
        if path.name == "etc":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        made(path, *words, **more)

    monkeypatch.setattr(state.Path, "mkdir", mkdir)
    assert refused(state.prepare, tmp_path) == f"cannot use {tmp_path / 'etc'}: No space left on device"


def test_processes_of_another_boot_are_none_of_ours(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    made = state.ClusterState(tmp_path, {"one": state.ProcessRecord(os.getpid(), start_time(os.getpid()))})
    made.save()
    assert state.ClusterState.load(tmp_path).any_running
    (tmp_path / "boot").write_text("another\n")
    monkeypatch.setattr(machine, "_BOOT_ID", tmp_path / "boot")
    assert state.ClusterState.load(tmp_path) == state.ClusterState(tmp_path)


def test_processes_that_a_version_without_boots_wrote_down_are_known(tmp_path):
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "state.json"
    state.ClusterState(tmp_path, {"one": state.ProcessRecord(os.getpid(), 1)}).save()
    said = json.loads(path.read_text())
    del said["boot_id"]
    path.write_text(json.dumps(said))
    assert set(state.ClusterState.load(tmp_path).processes) == {"one"}


def test_a_file_is_replaced_durably(tmp_path, monkeypatch):
    synced = []

    def fsync(descriptor):
        synced.append((os.readlink(f"/proc/self/fd/{descriptor}"), (tmp_path / "x").exists()))

    monkeypatch.setattr(state.os, "fsync", fsync)
    state.write_json(tmp_path / "x", 1)
    assert synced == [(str(tmp_path / "x.new"), False), (str(tmp_path), True)]
