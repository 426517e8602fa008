"""The settings of a cluster made by `up`: chosen, kept, checked."""

import json

import pytest
from curvefs_tool.servers import stop_rank
from curvefs_tool.settings import load_settings, settle

from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode
from curvefs.src.object.url import parse_store_url


def refused(call, *arguments, code=ExitCode.DATA_FOLDER):
    with pytest.raises(StartupError) as caught:
        call(*arguments)
    assert caught.value.exit_code == code
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_first_settings_are_kept_with_their_ports(tmp_path):
    first = settle(tmp_path, {"metaservers": 2})
    assert (first.fs, first.object_store, first.metaservers) == ("demo", f"file://{tmp_path}/objects", 2)
    assert (first.mds, first.etcd) == (1, 0)
    assert set(first.ports) == {"mds", "metaserver-1", "metaserver-2"}
    assert settle(tmp_path, {}) == first
    assert settle(tmp_path, {"fs": "demo", "object_store": f"file://{tmp_path}/objects", "metaservers": 2}) == first


def test_members_of_etcd_and_several_mds_have_ports_of_their_own(tmp_path):
    made = settle(tmp_path, {"mds": 2, "etcd": 3})
    members = {f"etcd-{number}{port}" for number in (1, 2, 3) for port in ("", "-peer", "-metrics")}
    assert set(made.ports) == {"mds", "mds-2", "metaserver-1", *members}
    assert len(set(made.ports.values())) == len(made.ports)
    assert made.mds_addresses == [f"127.0.0.1:{made.ports[name]}" for name in ("mds", "mds-2")]
    before = dict(made.ports)
    made.mds = 3
    made.add_ports()
    assert made.ports.items() > before.items()
    assert set(made.ports) - set(before) == {"mds-3"}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"fs": "other"}, "was made with --fs demo; it cannot be run with --fs other"),
        ({"object_store": "file:///x"}, "--object-store file:///x"),
        ({"metaservers": 3}, "was made with --metaservers 1; it cannot be run with --metaservers 3"),
        ({"fs": "other", "metaservers": 3}, "was made with --fs demo --metaservers 1"),
        ({"etcd": 3}, "was made with --etcd 0; it cannot be run with --etcd 3; see kv-migrate"),
    ],
)
def test_differing_settings_are_refused_by_name(tmp_path, asked, words):
    settle(tmp_path, {})
    assert words in refused(settle, tmp_path, asked)


@pytest.mark.parametrize("text", ["", "nonsense", "[]", '{"format": 1, "unknown": 2}', '{"fs": "demo"}'])
def test_damaged_settings_are_refused(tmp_path, text):
    (tmp_path / "cluster.json").write_text(text)
    assert "cluster.json" in refused(load_settings, tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metaservers": "x"}, "is damaged"),
        ({"metaservers": 10**9}, "is damaged"),
        ({"ports": {}}, "is damaged"),
        ({"ports": {"mds": 20001}}, "is damaged"),
        ({"ports": {"mds": "20001", "metaserver-1": 20002}}, "is damaged"),
        ({"ports": {"mds": 20001, "metaserver-1": 70000}}, "is damaged"),
        ({"ports": 5}, "is damaged"),
        ({"fs": None}, "is damaged"),
        ({"trash_retention": "1d"}, "is damaged"),
        ({"format": 2}, "is of version 2; this version knows 1"),
        ({"format": "x"}, "is of version x"),
    ],
)
def test_settings_with_a_wrong_value_are_refused_by_every_command(tmp_path, changes, words):
    settle(tmp_path, {})
    kept = json.loads((tmp_path / "cluster.json").read_text())
    (tmp_path / "cluster.json").write_text(json.dumps(kept | changes))
    assert words in refused(load_settings, tmp_path)
    assert words in refused(settle, tmp_path, {})


def test_three_replicas_are_the_default_where_there_are_three_metaservers(tmp_path):
    for metaservers, replicas in [(1, 1), (2, 1), (3, 3), (5, 3)]:
        folder = tmp_path / str(metaservers)
        folder.mkdir()
        assert settle(folder, {"metaservers": metaservers}).replicas == replicas
        assert load_settings(folder).replicas == replicas
    folder = tmp_path / "asked"
    folder.mkdir()
    assert settle(folder, {"metaservers": 5, "replicas": 5}).replicas == 5
    assert "was made with --replicas 5" in refused(settle, folder, {"replicas": 3})


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"metaservers": 2, "replicas": 3}, "3 replicas need 3 metaservers, not 2"),
        ({"mds": 3}, "3 MDS need etcd as their store; say --etcd 3, or --mds 1"),
        ({"metaservers": 2, "zones": 3}, "3 zones need 3 metaservers, not 2"),
        ({"metaservers": 5, "zones": 2}, "3 replicas need 3 zones, not 2"),
        ({"etcd": 2}, "2 members of etcd survive no more failures than 1; say an odd number"),
    ],
)
def test_numbers_that_do_not_fit_together_are_refused_and_change_nothing(tmp_path, asked, words):
    assert words in refused(settle, tmp_path, asked, code=ExitCode.USAGE)
    assert list(tmp_path.iterdir()) == []


def test_settings_of_before_there_were_replicas_and_etcd_have_one_and_none(tmp_path):
    settle(tmp_path, {"metaservers": 3})
    kept = json.loads((tmp_path / "cluster.json").read_text())
    for later in ("replicas", "mds", "etcd", "zones"):
        del kept[later]
    (tmp_path / "cluster.json").write_text(json.dumps(kept))
    found = settle(tmp_path, {"metaservers": 3})
    assert (found.replicas, found.mds, found.etcd) == (1, 1, 0)


def test_a_folder_with_any_name_has_an_object_store_that_can_be_read(tmp_path):
    data = tmp_path / "50% off #1?"
    data.mkdir()
    assert parse_store_url(settle(data, {}).object_store).folder == data / "objects"


def test_metaservers_stop_before_mds_and_mds_before_etcd():
    names = ["etcd-1", "mds", "mds-2", "metaserver-1", "etcd-2", "metaserver-2"]
    assert sorted(names, key=stop_rank) == ["metaserver-1", "metaserver-2", "mds", "mds-2", "etcd-1", "etcd-2"]
