"""The data path: what is written waits in memory, is stored in blocks, then published; what is read comes back through
a cache. Knows nothing of FUSE, gRPC or the MDS.

    interfaces.py   what it needs of the metadata
    budget.py       one memory budget for everything
    dirty.py        runs of written bytes that are not published yet (pure)
    store_calls.py  the object store from trio: threads, limits, retries until a deadline
    read_cache.py   pieces of blocks in memory, one request in flight each
    readahead.py    what a sequential reader will want next (pure)
    slice_lists.py  cached slice lists of a file
    publishing.py   storing dirty runs and publishing them in order
    file_data.py    one open file: write, read, flush, truncate
    data_path.py    all open files of a mount, and the background work
"""
