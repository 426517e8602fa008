"""Reclamation: what nothing refers to any more goes from the state and from the object store (rules 3, 4, 5, 19).

reclaimer.py     decides when: the leader of a group, whose clock is trusted, once the MDS says that it is time
passing.py       carries out what is due in one filesystem's delete queue of a group, kind by kind
looking.py       reads the queue: what is due, how much waits
filesystems.py   what the MDS says of filesystems, and its time
home.py          releases and new references that other groups ask for
checking.py      what is known of chunk ids: for `curvefs-tool gc`
service.py       ReclaimService
"""
