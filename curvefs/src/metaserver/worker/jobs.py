"""What the worker does for each job. Plain functions that block; run in threads, JOBS_MAX at the same time.

Shared between threads: Stores, under its lock. The stores themselves are safe from many threads.
"""

import threading
from collections.abc import Callable
from typing import Any

import structlog

from ....proto import worker_pb2 as pb
from ...common.errors import CurveFSError, InternalError, Unsupported
from ...common.status import failure_of
from ...object.answers import translated
from ...object.protocol import ObjectStore
from ...object.url import open_store

_log = structlog.get_logger()

JOBS_MAX = 4
LIST_MAX = 1000


class Stores:
    """Object stores by URL, opened once; a metaserver has as many as its filesystems name."""

    def __init__(self, open_: Callable[[str], ObjectStore] = open_store) -> None:
        self._open = open_
        self._lock = threading.Lock()
        self._stores: dict[str, ObjectStore] = {}

    def get(self, url: str) -> ObjectStore:
        """Return a store. Raises what opening one raises."""
        with self._lock:
            store = self._stores.get(url)
            if store is None:
                store = self._stores[url] = self._open(url)
            return store


def run(stores: Stores, job: pb.Job) -> pb.JobReply:
    """Do a job; its failure is in the reply."""
    reply = pb.JobReply(job_id=job.job_id)
    kind = job.WhichOneof("job")
    try:
        if kind is None:
            raise Unsupported("a job this worker does not know")
        with translated(job.object_store):
            _JOBS[kind](stores.get(job.object_store), getattr(job, kind), reply)
    except CurveFSError as error:
        reply.failure.CopyFrom(failure_of(error))
    except OSError as error:
        reply.failure.CopyFrom(failure_of(InternalError(f"the worker: {error.strerror}")))
    except Exception:  # noqa: BLE001  # a bug must not look like a job that never ends
        _log.exception("a job failed by a bug", job=kind)
        reply.failure.CopyFrom(failure_of(InternalError("a bug in the worker; the metaserver's log says more")))
    return reply


def _delete(store: ObjectStore, job: pb.DeleteObjects, _: pb.JobReply) -> None:
    store.delete(job.names)


def _list(store: ObjectStore, job: pb.ListObjects, reply: pb.JobReply) -> None:
    found = store.list(job.prefix, job.after, min(job.limit or LIST_MAX, LIST_MAX))
    reply.list.names.extend(one.key for one in found)
    reply.list.SetInParent()


_JOBS: dict[str, Callable[[ObjectStore, Any, pb.JobReply], None]] = {
    "delete": _delete,
    "list": _list,
}
