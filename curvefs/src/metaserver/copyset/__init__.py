"""Groups: one replicated state machine each, over the shared log.

group.py     one group: proposals, its part of the log, applying
recovery.py  a group's state after a restart, from environment, checkpoints and log
manager.py   all groups of a metaserver
service.py   the calls of the MDS about groups
"""
