"""What a server is told is judged before it touches anything: one line that says what is wrong."""

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode
from curvefs.src.mds.config import MdsConfig
from curvefs.src.mds.main import main as mds
from curvefs.src.metaserver.config import MetaserverConfig
from curvefs.src.metaserver.main import main as metaserver
from curvefs.src.process.config import load_config


def refusal(model, **flags):
    with pytest.raises(StartupError) as caught:
        load_config(model, None, {"data": "/d"} | flags)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"data": ""}, "data: the path is empty"),
        ({"data": 5}, "data: 5 is no path"),
        ({"data": "/bad\udcff"}, "data: '/bad\\udcff' is not UTF-8"),
        ({"listen": "bad"}, "listen: 'bad' is no address: HOST:PORT is expected"),
        ({"metrics_listen": "h:70000"}, "metrics_listen: 'h:70000' is no address: HOST:PORT is expected"),
        ({"store": ""}, "store: '' is neither 'lmdb' nor etcd's HOST:PORT,HOST:PORT"),
        ({"store": "h:1,x"}, "store: 'h:1,x' is neither 'lmdb' nor etcd's HOST:PORT,HOST:PORT"),
        ({"bogus": 1}, "unknown key 'bogus'"),
        ({"store": "h:1", "etcd_user": "u"}, "etcd_user and etcd_password_file are given together"),
        ({"store": "h:1", "etcd_ca": ""}, "etcd_ca: the path is empty"),
    ],
)
def test_an_mds_is_told_what_is_wrong(flags, told):
    assert refusal(MdsConfig, **flags) == f"configuration: {told}"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"mds": ""}, "mds: no MDS address is given"),
        ({"mds": "h:1/x"}, "mds: 'x' is no address: HOST:PORT is expected"),
        ({"mds": "h:1", "listen": "bad"}, "listen: 'bad' is no address: HOST:PORT is expected"),
        ({"mds": "h:1", "server": "bad\udcff"}, "server: 'bad\\udcff' is not UTF-8"),
        ({"mds": "h:1", "key_dir": ""}, "key_dir: the path is empty"),
    ],
)
def test_a_metaserver_is_told_what_is_wrong(flags, told):
    assert refusal(MetaserverConfig, **flags) == f"configuration: {told}"


@pytest.mark.parametrize(("model", "more"), [(MdsConfig, {}), (MetaserverConfig, {"mds": "h:1"})])
@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "0", "0x0.0", "[0:0::0]", "[::ffff:0:0]"])
def test_a_server_listens_where_others_can_be_told_to_reach_it(model, more, host):
    told = f"'{host}:6700' names no host: say the address by which others reach it"
    assert refusal(model, listen=f"{host}:6700", **more) == f"configuration: listen: {told}"
    metrics = load_config(model, None, {"data": "/d", "metrics_listen": f"{host}:9100"} | more)
    assert metrics.metrics_listen == f"{host}:9100"


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "host-0.example", "[:::]", "10.0.0.0", "[::ffff:a00:1]"])
def test_other_hosts_are_a_servers(host):
    assert load_config(MdsConfig, None, {"data": "/d", "listen": f"{host}:0"}).listen == f"{host}:0"


@pytest.mark.parametrize("name", ["etcd_key", "etcd_password_file"])
def test_a_secret_of_etcd_that_others_may_read_is_refused(tmp_path, name):
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    others = {"etcd_key": {"etcd_ca": "c", "etcd_certificate": "c"}, "etcd_password_file": {"etcd_user": "u"}}[name]
    flags = {"store": "h:1", name: str(secret)} | others
    assert getattr(load_config(MdsConfig, None, {"data": "/d"} | flags), name) == secret
    secret.chmod(0o640)
    told = f"others may read or change {name} {secret} (mode 0640); say chmod 600"
    assert refusal(MdsConfig, **flags) == f"configuration: {told}"


@pytest.mark.parametrize("armed", ["x", "a=kill:x", "a=pause", "a=stop"])
def test_failpoints_that_make_no_sense_are_one_line(armed):
    words = [sys.executable, "-m", "curvefs.src.metaserver.main", "-h"]
    done = subprocess.run(
        words, env=os.environ | {"CURVEFS_FAILPOINTS": armed}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (ExitCode.USAGE, f"CURVEFS_FAILPOINTS: no failpoint action: {armed}\n")


@pytest.mark.parametrize("program", [mds, metaserver])
def test_help_is_short_too(program):
    assert CliRunner().invoke(program, ["-h"]).stdout.startswith("Usage: ")


@pytest.mark.parametrize("program", [mds, metaserver])
@pytest.mark.parametrize("words", [("--data", ""), ("--listen", "bad"), ("--metrics-listen", "bad")])
def test_a_refused_server_has_made_nothing(tmp_path, monkeypatch, program, words):
    monkeypatch.chdir(tmp_path)
    flags = {"--data": str(tmp_path / "data")} | ({"--mds": "h:1"} if program is metaserver else {}) | dict([words])
    done = CliRunner().invoke(program, [word for pair in flags.items() for word in pair])
    assert (done.exit_code, done.stderr.count("\n")) == (ExitCode.USAGE, 1)
    assert list(tmp_path.iterdir()) == []
