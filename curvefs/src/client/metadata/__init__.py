"""The client's view of the metadata: a cache, the ranges of ids, the router to metaservers, and the typed calls.

cache.py    attributes, names and complete listings, with timeouts and one bound (pure)
ids.py      the session's ranges of inode numbers and chunk ids (pure)
session.py  the mount's session with the MDS
router.py   partition -> group -> metaserver; retries, redirects, a lost session
client.py   one method per operation: builds it, sends it, teaches the cache its outcome
slices.py   what the data path needs of all this
"""
