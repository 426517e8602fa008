"""The write-ahead log of a simulated server: what wal/log.py does with an event loop and a thread, done with events.

Jobs are done one after the other, each some time after it was given; what a group has is taken when a write begins, and
it is told at once when that is durable, but acts only when the next write has begun. A stop meets a job before it, in
the middle of it, or behind it, before anybody was told.
"""

import contextlib
from collections import deque

from curvefs.src.common.errors import NoSpace
from curvefs.src.metaserver.wal.segments import SegmentFiles
from curvefs.test.sim.disk import Crashed

_DISK_OPERATIONS = (1, 1, 2, 2, 3, 4, 6)  # of an append: write and sync; a new segment takes four more


class ProcessEnds(Exception):
    """The process ends itself."""


class SimLog:
    """See the module. server: has later(), the disk, and is told what goes wrong."""

    def __init__(self, server, outline, settings):
        self._server = server
        self._random = server.random_disk
        self.files = SegmentFiles(server.disk, outline, settings, salt=self._salt, fatal=self._fatal)
        self._announced = False
        self._scheduled = False
        self._writing = False
        self._source = None
        self._jobs = deque()

    def _salt(self):
        return self._random.getrandbits(64)

    def _fatal(self, reason):
        self._jobs.clear()  # nothing is done after that
        raise ProcessEnds(reason)

    # ------------------------------------------------------------------------------- on the event loop

    def ready(self, source):
        """Announce that the group has something to append."""
        self._source = source
        self._announced = True
        if not self._writing and not self._scheduled:
            self._scheduled = True
            self._server.later(0.0, self._begin)

    def append(self, records, done):
        """Append records that belong to no source; ``done`` is called with None or the error."""
        self._do(lambda: self._append(records, done))

    def trim(self, bases):
        """Delete what is not needed."""
        self._do(lambda: self.files.trim(bases))

    def _begin(self):
        self._scheduled = False
        if self._writing or not self._announced:
            return
        self._announced = False
        records = self._source.take()
        if records:
            self._writing = True
            self._server.wrote(records)
            self._do(lambda: self._write(records))

    def _written(self):
        self._writing = False
        self._source.appended()
        self._begin()
        self._source.proceed()

    def _refused(self, error):
        self._writing = False
        self._server.before_refused()
        self._source.refused(error)
        self._server.after_refused()
        if self._announced:
            self._begin()

    # ---------------------------------------------------------------------------------- in the thread

    def _do(self, job):
        self._jobs.append(job)
        self._server.writes()
        if len(self._jobs) == 1:
            self._server.later(self._server.disk_delay(), self._work)

    def _work(self):
        job = self._jobs[0]
        job()
        self._jobs.popleft()
        if self._jobs:
            self._server.later(self._server.disk_delay(), self._work)

    def _write(self, records):
        try:
            self.files.append(records)
        except NoSpace as error:
            self._server.later(0.0, self._refused, error)
        else:
            self._server.synced(records)
            self._server.later(0.0, self._written)

    def _append(self, records, done):
        try:
            self.files.append(records)
        except NoSpace as error:
            self._server.later(0.0, done, error)
        else:
            self._server.synced(records)
            self._server.later(0.0, done, None)

    def stop(self):
        """The process or its machine stops now: the job under way may have got anywhere."""
        if not self._jobs or self._random.random() < 0.2:
            return
        self._server.disk.crash_in = self._random.choice(_DISK_OPERATIONS)
        with contextlib.suppress(Crashed, ProcessEnds, OSError):
            self._jobs[0]()
