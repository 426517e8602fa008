"""A real S3 server for the tests of a run."""

import os
from pathlib import Path

import pytest
from curvefs_tool.seaweed import SeaweedServer

ACCESS, SECRET = "testaccess", "testsecretsecret"
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="session")
def weed(tmp_path_factory):
    """A running SeaweedFS; its credentials are in ENVIRONMENT."""
    server = SeaweedServer(Path(tmp_path_factory.mktemp("weed")), access_key=ACCESS, secret_key=SECRET)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def weed_environment(monkeypatch):
    """The credentials of the S3 server in this process's environment."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return os.environ
