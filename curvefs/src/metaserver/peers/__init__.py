"""The messages of raft groups between metaservers: one stream per pair, which all groups share.

hello.py     who speaks: signing and checking the first frame (pure)
outbox.py    what waits for one peer, cut into frames, within bounds (pure)
seldom.py    how often the same thing is logged (pure)
settings.py  intervals, deadlines and sizes
peer.py      what is known of one peer
link.py      one open stream: reader, writer, watch
peers.py     the address book, and the streams' making and ending
metrics.py   counters

The stream itself, on gRPC, is curvefs/src/rpc/asyncio_peers.py.
"""
