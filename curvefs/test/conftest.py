"""Fixtures that every test may use."""

from curvefs.test.support.weed import weed, weed_of_my_own

__all__ = ["weed", "weed_of_my_own"]
