"""Who cannot listen says why: a name that does not resolve is no port that is taken."""

import socket

import pytest
from prometheus_client import CollectorRegistry

from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode
from curvefs.src.process.metrics_page import MetricsPage
from curvefs.src.rpc.asyncio_server import start_server


@pytest.fixture
def taken():
    """An address at which somebody listens already."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield f"127.0.0.1:{one.getsockname()[1]}"


@pytest.mark.asyncio
async def test_a_server_with_a_name_that_does_not_resolve_says_so():
    with pytest.raises(StartupError, match="cannot listen on no-such.invalid:0: no-such.invalid does not") as caught:
        await start_server("no-such.invalid:0", [])
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.asyncio
async def test_a_server_whose_port_is_taken_says_so(taken):
    with pytest.raises(StartupError, match="the port is taken or not ours") as caught:
        await start_server(taken, [])
    assert caught.value.exit_code == ExitCode.ADDRESS_IN_USE


def test_a_metrics_page_with_a_name_that_does_not_resolve_says_so():
    with pytest.raises(StartupError, match="for metrics: no-such.invalid does not resolve") as caught:
        MetricsPage(CollectorRegistry(), "no-such.invalid:0")
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_metrics_page_whose_port_is_taken_says_so(taken):
    with pytest.raises(StartupError, match="the port is taken or not ours") as caught:
        MetricsPage(CollectorRegistry(), taken)
    assert caught.value.exit_code == ExitCode.ADDRESS_IN_USE
