"""Random operations on one file, each checked against a model in memory: after the idea of Apple's fsx.

model.py      what the file must hold
exerciser.py  the operations, drawn from a seed
__main__.py   the commands: one file, or many on a real mount
"""
