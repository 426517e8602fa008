"""The metaserver: inodes, dentries and slice lists of the partitions it holds.

wal/        the write-ahead log that all groups share
storage/    LMDB below the state machine: keys, transactions, environment, checkpoints
copyset/    a raft group on disk: propose, commit, apply
metastore/  the state machine
service.py  the calls of the MDS
session_port.py, session_stream.py, session_outbox.py  the streams of mounts
"""
