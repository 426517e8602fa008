"""Blocks on local disks. Knows nothing of FUSE.

eviction.py      which block goes when room is needed (pure)
block_files.py   one block as a file: a checked header, then the object as it is in the store
limits.py        how much a folder may hold, by its size and by the room left on its disk (pure)
folder.py        the blocks of one folder, and what is done when its disk fails
disk_cache.py    several folders, their locks and threads
staging.py       what a write-back mount has flushed and not published yet
cached_store.py  an object store with the cache in front of it
"""
