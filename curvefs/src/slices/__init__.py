"""Slices and blocks: pure rules that the client and compaction share.

overlay.py   which slice each byte of a chunk comes from
names.py     object names
geometry.py  chunks and blocks of a file range

How a block lies in its object:

framing.py        format 1: segments with checksums
block_formats.py  the numbers of all formats
codec.py          blocks in every format, encoded, and read in part
compression.py, seals.py  what is done to one segment
"""
