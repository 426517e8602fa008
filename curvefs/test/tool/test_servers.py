"""What servers are told in their files, and that those of this machine are asked without a proxy."""

import http.server
import os
import threading
import tomllib

import pytest
from botocore.utils import get_environ_proxies
from curvefs_tool import etcd_member
from curvefs_tool.demo import beside_proxy
from curvefs_tool.servers import Programs, plan_servers
from curvefs_tool.settings import Settings

from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode


def plan(data):
    (data / "etc").mkdir(parents=True)
    settings = Settings("demo", "file:///x", 1, {"mds": 1, "metaserver-1": 2})
    return plan_servers(data, settings, Programs(["mds"], ["metaserver"]))


@pytest.mark.parametrize("name", ["plain", "\U0001f980 \u00fc\u2028", 'q"uo\\te', "line\nand\ttab", "del\x7f\x01"])
def test_servers_read_the_folder_that_they_are_told(tmp_path, name):
    plan(tmp_path / name)
    for server in ("mds", "metaserver-1"):
        told = tomllib.loads((tmp_path / name / "etc" / f"{server}.toml").read_text(encoding="utf-8"))
        assert told["data"] == str(tmp_path / name / server)


def test_a_folder_that_is_not_utf_8_is_refused_in_one_line(tmp_path):
    with pytest.raises(StartupError) as caught:
        plan(tmp_path / "bad\udcff")
    assert caught.value.exit_code == ExitCode.USAGE
    assert str(caught.value) == f"'{tmp_path}/bad\\udcff/mds' is not UTF-8"


class _Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"health": "true"}')

    def log_message(self, *_):
        pass


def test_our_own_etcd_is_not_asked_through_a_proxy(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # where nobody is
    with http.server.HTTPServer(("127.0.0.1", 0), _Healthy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert etcd_member._serves(f"http://127.0.0.1:{server.server_port}/health")
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_the_s3_server_of_the_demo_is_not_asked_through_a_proxy(monkeypatch, name):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv(name, "elsewhere")
    assert get_environ_proxies("http://127.0.0.1:8333/") != {}
    monkeypatch.setenv("no_proxy", beside_proxy(os.environ, "127.0.0.1")["no_proxy"])
    assert get_environ_proxies("http://127.0.0.1:8333/") == get_environ_proxies("http://elsewhere/") == {}
