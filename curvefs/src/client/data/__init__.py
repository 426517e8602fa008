"""The data path of a mount. Knows nothing of FUSE, gRPC or the MDS.

What is written waits in memory, is stored in blocks, then published; what is read comes through a cache.

    interfaces.py   what it needs of the metadata
    budget.py       one memory budget for everything
    dirty.py        runs of written bytes that are not published yet (pure)
    store_calls.py  the object store from trio: threads, limits, retries until a deadline
    read_cache.py   blocks and pieces of blocks in memory
    readahead.py    what a sequential reader will want next (pure)
    slice_lists.py  cached slice lists of a file
    write_back.py   staging on the cache disk instead of storing
    staged.py       slices of a file that are staged, not published yet
    warm_up.py      filling the disk cache
    outcomes.py     whether a publication was done whose answer never came
    publishing.py   storing dirty runs and publishing them in order
    all_over.py     which blocks come whole to who reads here and there (pure)
    reading.py      reads of one file: published slices, dirty runs over them
    reader.py       what one handle reads with
    file_data.py    one open file: write, flush, truncate
    data_path.py    all open files of a mount, and the background work
"""
