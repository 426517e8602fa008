"""How things in the trash are called, where mounts show it (client/vfs/trash.py)."""

from datetime import UTC, datetime

from .ids import NAME_SIZE_MAX

TRASH_NAME = b".trash"  # in the root of a mount
# What is known of where something was, as extended attributes of it: name, parent (its inode), path, removed (in ns).
XATTR_PREFIX = b"curvefs.trash."


def hour_name(time_s: int) -> bytes:
    """Return the name of the directory of an hour in which a time, in seconds since 1970, lies."""
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d-%H").encode()


def suffixed(name: bytes, inode_id: int) -> bytes:
    """Return what leads to an inode for sure, however many had its name; at most as long as a name may be."""
    suffix = b".~%d" % inode_id
    return name[: NAME_SIZE_MAX - len(suffix)] + suffix
