"""Exit codes: one per kind of failure, the same for every program. Scripts rely on them; never renumber."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Why a program ended."""

    OK = 0
    FAILED = 1  # anything without a code of its own
    USAGE = 2  # wrong flags, a name that breaks the rules
    NOT_FOUND = 3  # no such filesystem, file, quota, server, metaserver
    UNREACHABLE = 4  # the MDS does not answer
    OBJECT_STORE = 5  # credentials refused, no such bucket, store unreachable
    MOUNTPOINT = 6  # missing, no directory, or already a mountpoint
    ADDRESS_IN_USE = 7  # the port is taken, or another metaserver is there, or is this one
    DATA_FOLDER = 8  # of a newer version, in use, or with other settings
    DAMAGED = 9  # a log or state that must not be used
    BUSY = 10  # something uses it: open files, mounts
    EXISTS = 11  # a filesystem of this name
    TIMEOUT = 12  # did not become ready in time
    REFUSED = 13  # the server said no
