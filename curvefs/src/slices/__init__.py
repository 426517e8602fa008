"""Slices and blocks: pure rules that the client and compaction share.

overlay.py   which slice each byte of a chunk comes from
names.py     object names
framing.py   how a block lies in its object: segments with checksums
geometry.py  chunks and blocks of a file range
"""
