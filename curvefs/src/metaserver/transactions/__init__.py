"""Transactions across partitions, as the leaders of groups carry them out (rules 15 to 18).

plan.py          from an operation and the state to the parts that partitions have to do. Pure
coordinator.py   prepares, decides, answers, has it finished
finishing.py     tells participants what was decided, then forgets it
participant.py   prepares and finishes for others; asks about what it was never told the end of
calls.py         which group leads which partition, and calls to its leader
service.py       the calls between metaservers
transactions.py  all of it put together

What the parts do to the state: metastore/parts.py, metastore/transactions.py.
"""
