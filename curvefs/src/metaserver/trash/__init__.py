"""The leader's duty with the trash: what is older than the retention goes to the delete queue.

purger.py    decides when, and has it done, a bounded number of inodes an entry
looking.py   reads how much is in the trash, and since when
"""
