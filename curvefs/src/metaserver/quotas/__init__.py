"""Quotas at work: what the leader of an owner's group does for them (rule 26).

port.py      what that needs of the groups, as a protocol
lending.py   allowances of partitions: lent, called back, refused
counting.py  charging what lies below a directory that gets a quota, and taking it off again
owner.py     carries it out, as the leader
recount.py   whether the counters are what a full count says
service.py   calls from tools and other metaservers
"""
