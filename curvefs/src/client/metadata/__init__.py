"""The client's view of the metadata: a cache, the ranges of ids, the router to metaservers, and the typed calls.

cache.py      attributes, names and complete listings, with timeouts and one bound (pure)
listings.py   when a directory is known as a whole, and when it is worth to be
hints.py      where the bytes of small files lie, as told with their names (pure)
ids.py        the session's ranges of inode numbers and chunk ids (pure)
given_up.py   telling groups of chunk ids that are not used
releases.py   telling groups what is not open any more, until they have heard it
placement.py  which partition a new directory goes to (pure)
leaders.py    whom to ask for a group's leader (pure)
session.py    the mount's session with the MDS
groups.py     where each group is led; streams to metaservers
router.py     partition -> group; retries, deadlines, a lost session
answers.py    what a caller sleeps on
reads.py      typed reads, through the cache
changes.py    how changes are sent and what the cache learns of them
names.py      changes of names, also across partitions
client.py     all of these together, and changes of single inodes
slices.py     what the data path needs of it
"""
