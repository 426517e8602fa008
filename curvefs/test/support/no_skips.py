"""A pytest plugin: a skipped test fails the run. What a test needs is installed, never assumed."""

import pytest


def pytest_sessionfinish(session, exitstatus):
    """Turn a run with skips into a failed one."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.stats.get("skipped") and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
