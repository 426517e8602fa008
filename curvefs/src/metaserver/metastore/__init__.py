"""The state machine of a group: inodes, dentries, slices, sessions and their lanes. Pure but for the transaction.

scope.py       what one entry sees while it is applied
apply.py       from an entry to the function that applies it
namespace.py   operations on names
attributes.py  attributes, extended attributes
data.py        slices, lengths, cuts
trash.py       what lost its last link and may be restored
references.py  who else refers to the same objects
delete_queue.py  what is to be deleted, and what was
ids.py         ranges of ids leased to sessions
sessions.py    sessions and lanes
reads.py       reads
unfinished.py  what a restarted leader goes on with
"""
