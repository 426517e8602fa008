"""A raft group on disk: what is proposed is logged, then committed, then applied, each a stage of its own.

group.py    one group: its queue, its state, applying
manager.py  all groups of a metaserver over one log; recovery, checkpoints
"""
