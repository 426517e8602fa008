"""Remote calls: the only importer of grpc beside the generated stubs; and session streams, which go without it.

failover.py       which address to try next (sans-IO)
backoff.py        how long to wait before the next try (pure)
lane.py           numbering, batching and retrying of a session's operations in one group (sans-IO)
transactions.py   numbering and repeating of its operations that span partitions (sans-IO)
group_calls.py    all that a session has under way in one group, whoever leads it (sans-IO)
asyncio_server.py starting a gRPC server on asyncio
asyncio_client.py unary calls from asyncio
client_pool.py    such clients of many groups' servers, bounded
asyncio_peers.py  the stream between two metaservers, for both sides
blocking.py       unary calls from plain threads and commands
frames.py         how messages lie on a session stream's connection (sans-IO)
asyncio_frames.py session streams under asyncio: the port of a metaserver, and the way to it
connection.py     one session stream under trio
trio_stream.py    the client's stream with one metaserver, under trio: which groups' calls flow there
"""
