"""The write-ahead log of a metaserver, shared by all its groups.

format.py   records and segment headers (pure)
recovery.py reading it back: torn tails are cut, damage stops the server
log.py      appending: one write and one fdatasync for all that waits
"""
