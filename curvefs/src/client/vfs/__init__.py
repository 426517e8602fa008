"""POSIX operations on one filesystem, in POSIX's terms. Knows nothing of FUSE.

filesystem.py  the operations
files.py       open files: one handle over the data path
directories.py open directories: pages of a listing behind stable cursors
handles.py     open handles, and what is held open though its last name is gone
removals.py    what loses names while it is open, or being opened
trash.py       the trash as a mount shows it
trash_listing.py  its directories
kernel_view.py what the kernel was told and may still have cached
kernel_pages.py  what random readers will want, put into the kernel's page cache
"""
