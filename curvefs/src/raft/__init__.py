"""The consensus core of a group (Raft): values in, values out; no clock, thread, socket, randomness or disk inside.

core.py           one server: what goes in, what comes out
messages.py       what servers tell one another; entries
configuration.py  members, majorities, joint consensus
log.py            the log as far as it is in memory
state.py          what a server is in every role; what waits for the disk
follower.py       takes entries and snapshots
candidate.py      elections, with pre-vote
leader.py         replicates, commits, changes members, hands over, sends snapshots
progress.py       what a leader knows of one follower
reads.py          lease and ReadIndex
codec.py          values <-> raft.proto
"""
