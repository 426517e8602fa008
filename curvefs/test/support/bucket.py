"""A cluster whose blocks lie in a real S3 server, under a prefix of its own, and what is there.

Fixtures: ``cluster``, which is not started yet, and ``store``, what it stores into. Import both where they are used.
"""

import itertools
import os

import pytest

from curvefs.src.object.url import open_store

from .cluster import Cluster

__all__ = ["cluster", "cluster_in", "objects", "store"]

_numbers = itertools.count()


def cluster_in(weed, **environment):
    """Return a cluster that is not started yet. environment: of its processes, besides the server's."""
    prefix = f"bucket-{os.getpid()}-{next(_numbers)}"
    return Cluster(weed.url(prefix=prefix), weed.environment | environment)


@pytest.fixture
def cluster(weed):
    with cluster_in(weed) as made:
        yield made


@pytest.fixture
def store(cluster):
    made = open_store(cluster.object_store)
    yield made
    made.close()


def objects(store):
    """Return all objects: their keys, in the store's order, and their sizes."""
    found, after = {}, ""
    while page := store.list("", after):
        found |= {one.key: one.size for one in page}
        after = page[-1].key
    return found
