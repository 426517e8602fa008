"""Fixtures that every test may use."""

from .support.weed import weed, weed_environment  # noqa: F401
