"""The worker process: ``python -m curvefs.src.metaserver.worker LEVEL FORMAT``. A metaserver starts it (worker.py).

Jobs come on standard input and are answered on what was standard output; whatever prints goes to standard error. It
ends with its input: so also when the metaserver was killed, and in the middle of jobs, which can all be repeated.

Shared between threads: the pipe of replies, under a lock.
"""

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from ....proto import worker_pb2 as pb
from ...common import logs
from . import frames
from .jobs import JOBS_MAX, Stores, run

_NICENESS = 10


def main() -> None:
    """Do jobs until the input ends."""
    level, format_ = sys.argv[1:3]
    logs.configure(json=format_ == "json", level=level, program="curvefs-metaserver worker")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the metaserver decides
    os.nice(_NICENESS)
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    stores, lock = Stores(), threading.Lock()
    threads = ThreadPoolExecutor(JOBS_MAX, thread_name_prefix="job")
    while (message := frames.read(sys.stdin.buffer)) is not None:
        threads.submit(_work, stores, pb.Job.FromString(message), replies, lock)
    os._exit(0)  # threads may be anywhere


def _work(stores: Stores, job: pb.Job, replies: BinaryIO, lock: threading.Lock) -> None:
    frame = memoryview(frames.pack(run(stores, job).SerializeToString()))
    try:
        with lock:
            while frame:
                frame = frame[replies.write(frame) :]
    except OSError:
        os._exit(0)  # nobody reads any more


if __name__ == "__main__":
    main()
