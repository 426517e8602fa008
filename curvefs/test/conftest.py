"""Fixtures that every test may use."""

from curvefs.test.support.weed import weed, weed_of_my_own

__all__ = ["weed", "weed_of_my_own"]


def pytest_addoption(parser):
    """Let a person take over what scenarios say now (curvefs/test/raft/testdata)."""
    parser.addoption("--rewrite", action="store_true", help="make the expectations of scenario files anew")
