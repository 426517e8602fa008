"""Whole clusters of real processes, with the blocks in a folder and in a real S3 server."""

import itertools

import pytest

from ..support.cluster import Cluster

_numbers = itertools.count()


def pytest_collection_modifyitems(items):
    """Everything here runs real processes and mounts."""
    for item in items:
        if "/test/system/" in str(item.path):
            item.add_marker(pytest.mark.system)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Put the logs of a failed test's clusters into its report."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, Cluster):
                report.sections.append((f"logs of {name}", value.logs()))


@pytest.fixture
def cluster():
    """A cluster that is not started yet, with its blocks in a folder."""
    with Cluster() as made:
        yield made


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
def either_cluster(request):
    """The same, on both kinds of object store."""
    if request.param == "folder":
        with Cluster() as made:
            yield made
        return
    weed = request.getfixturevalue("weed")
    # A prefix per test: the server lives for the whole run.
    with Cluster(weed.url(prefix=f"test-{next(_numbers)}"), weed.environment) as made:
        yield made
