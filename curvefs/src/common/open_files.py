"""How many files a process may have open at a time: as many as the machine allows it.

The usual limit is 1024, for the sake of programs that use select(2). Each connection is an open file; a metaserver
without any left cannot go on with its log, and ends.
"""

import contextlib
import resource


def raise_limit() -> None:
    """Raise this process's own limit to the one that it may not pass."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # a sandbox that forbids it: then it stays as it is
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
