"""POSIX operations on one filesystem, in POSIX's terms. Knows nothing of FUSE.

filesystem.py  the operations
files.py       open files: handles, what is held open though unlinked
directories.py open directories: pages of a listing behind stable cursors
trash.py       the trash as a mount shows it
trash_listing.py  its directories
kernel_view.py what the kernel was told and may still have cached
kernel_pages.py  what random readers will want, put into the kernel's page cache
"""
