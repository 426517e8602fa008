"""``curvefs-tool quota ...``: limits of bytes and inodes, of filesystems and directories."""
