"""A long overwriting of one large file while another mount reads it: nothing may grow, slow down or be wrong.

pages.py     pages that say where they belong and which writing they are of (pure)
load.py      the writer and the reader, processes of their own
samples.py   what is measured again and again, and what is said of it
__main__.py  the command
"""
