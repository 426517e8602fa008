"""Remote calls: the only importer of grpc beside the generated stubs.

failover.py       which address to try next (sans-IO)
lane.py           numbering, batching and retrying of a session's operations in one group (sans-IO)
asyncio_server.py starting a gRPC server on asyncio
asyncio_client.py unary calls from asyncio
blocking.py       unary calls from plain threads and commands
trio_stream.py    the client's session stream with one metaserver, under trio
"""
