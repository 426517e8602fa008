"""The client: POSIX operations over cached metadata and data (vfs/), and what mounts them (fuse/, mount.py)."""
