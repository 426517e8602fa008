"""Data folders: made where nothing is, refused where something else is, each for one program."""

import pytest

from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode
from curvefs.src.process.data_folder import MDS, METASERVER, DataFolder


def refusal(path, program=MDS):
    before = sorted(path.iterdir()) if path.is_dir() else []
    with pytest.raises(StartupError) as caught:
        DataFolder(path, program)
    assert caught.value.exit_code == ExitCode.DATA_FOLDER
    assert (sorted(path.iterdir()) if path.is_dir() else []) == before
    return str(caught.value)


def test_what_is_no_folder_is_said_to_be_none(tmp_path):
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "file") == f"{tmp_path / 'file'} is no folder"


def test_a_folder_with_files_of_others_is_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    assert refusal(tmp_path) == f"{tmp_path} is not empty and no data folder"


@pytest.mark.parametrize("name", ["lost+found", "lock", "format.new"])
def test_a_new_disk_and_what_a_start_that_was_cut_off_left_are_no_obstacle(tmp_path, name):
    (tmp_path / name).touch()
    DataFolder(tmp_path, MDS).close()


@pytest.mark.parametrize(("mine", "other"), [(MDS, METASERVER), (METASERVER, MDS)])
def test_a_folder_is_of_one_program(tmp_path, mine, other):
    DataFolder(tmp_path, mine).close()
    DataFolder(tmp_path, mine).close()
    assert refusal(tmp_path, other) == f"{tmp_path} is the data folder of {mine}, not of {other}"


@pytest.mark.parametrize(("mine", "other", "mark"), [(MDS, METASERVER, "kv"), (METASERVER, MDS, "wal")])
def test_a_folder_from_before_the_program_was_kept_is_known_by_what_is_in_it(tmp_path, mine, other, mark):
    DataFolder(tmp_path, mine).close()
    (tmp_path / "program").unlink()
    (tmp_path / mark).mkdir()
    assert refusal(tmp_path, other) == f"{tmp_path} is the data folder of {mine}, not of {other}"
    DataFolder(tmp_path, mine).close()
    assert (tmp_path / "program").read_text() == f"{mine}\n"


def test_the_folder_of_a_whole_cluster_is_no_servers(tmp_path):
    for name in ("format", "lock", "cluster.json"):
        (tmp_path / name).write_text("1")
    assert refusal(tmp_path) == f"{tmp_path} is the data folder of curvefs-tool up, not of {MDS}"


@pytest.mark.parametrize("text", ["x", "-1", "70000", "1 2"])
def test_a_port_that_is_damaged_is_the_folders_fault(tmp_path, text):
    folder = DataFolder(tmp_path, MDS)
    (tmp_path / "port").write_text(text)
    with pytest.raises(StartupError, match=f"port is damaged: '{text}' is no port") as caught:
        folder.address_to_listen("h:0")
    assert caught.value.exit_code == ExitCode.DATA_FOLDER
    assert folder.address_to_listen("h:5") == "h:5"
    folder.close()


def test_the_port_that_was_chosen_is_chosen_again(tmp_path):
    folder = DataFolder(tmp_path, MDS)
    assert folder.address_to_listen("h:0") == "h:0"
    folder.remember_address("h:1234")
    assert folder.address_to_listen("h:0") == "h:1234"
    folder.close()
