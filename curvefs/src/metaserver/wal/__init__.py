"""The write-ahead log that all groups of a metaserver share.

format.py    bytes of segments and records (pure)
outline.py   what the log holds of each group, record by record (pure)
disk.py      what it needs of a disk
recovery.py  what a log folder holds after a stop, torn or damaged
segments.py  the files: write, sync, rotate, delete
log.py       group commit: many groups' entries, one write, one fdatasync
"""
