"""The kernel side: what turns FUSE requests into calls of the vfs. The only importer of pyfuse3."""
