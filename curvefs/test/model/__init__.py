"""The whole data path against plain bytes: mounts, metadata, store, cache disks, compaction and reclamation together.

A script of steps is drawn (machine.py) and played on trio's clock, which jumps: nothing waits, and a script always goes
the same way. What is real: the operations of POSIX, data path, disk cache and staging of each mount, its metadata
client down to the router, the state machine of the metaserver, compactor, reclaimer and the jobs of the worker. What
stands in for the rest is as small as possible: one replica without a log, calls that come in order, a store in memory.

    contents.py    what a file may hold: plain files, and a file that everybody appends to
    faults.py      what goes wrong, when it is planned to, and whether that excuses an error
    server.py      the group: state machine, sessions, elections
    lane.py        in the place of the router: calls of one mount to the group
    disks.py       cache folders whose disk fails, is full, or damages blocks
    mount.py       one mount, which may die
    background.py  compactor and reclaimer, step by step
    world.py       all of them, and what must hold at any time
    machine.py     steps, and the player who compares
    looking.py     plays scripts until one fails
    planted.py     faults in the code that the machine has to find
"""
