"""Fixtures that every test may use."""

import os

import hypothesis

from curvefs.src.client import background
from curvefs.test.support.weed import weed, weed_of_my_own

__all__ = ["weed", "weed_of_my_own"]

# How long an example takes says nothing of the code where several tests run at a time. What is tested must not depend
# on the run either; who looks for new examples sets CURVEFS_TEST_RANDOM.
hypothesis.settings.register_profile("curvefs", deadline=None, derandomize=not os.environ.get("CURVEFS_TEST_RANDOM"))
hypothesis.settings.load_profile("curvefs")


class _Raising:
    """In place of the log of what a mount outlives: a test that meets a bug fails."""

    def exception(self, *_, **__):
        raise  # noqa: PLE0704  # what is being handled


background.log = _Raising()


def pytest_addoption(parser):
    """Let a person take over what scenarios say now (curvefs/test/raft/testdata)."""
    parser.addoption("--rewrite", action="store_true", help="make the expectations of scenario files anew")
