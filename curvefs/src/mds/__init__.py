"""The MDS: filesystems, mount sessions, topology and placement of one cluster.

All that must last is in the key-value store (storage/), mirrored in memory by state.py, which also is the only
writer. Everything above it decides synchronously over that memory and talks to metaservers and object stores with
deadlines. Layers: main -> server -> service -> managers -> state -> storage protocol.
"""
