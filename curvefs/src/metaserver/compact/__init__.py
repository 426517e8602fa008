"""Compaction, carried out: the leader of a group decides, the worker process moves the bytes, one entry commits.

compactor.py  decides what is done when, and how much at once; asked for a file, does all of it
chunk.py      one chunk: what its list is, the job that merges it, the entry that commits it
leases.py     the chunk ids that are leased to the leader
pace.py       bytes per second
service.py    FilesService: paths, slices, and compaction of a file, for operators
"""
