"""The worker process as its metaserver sees it: real processes, objects in a folder."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from curvefs.proto import worker_pb2 as pb
from curvefs.src.common.errors import ObjectStoreUnavailable, PermissionDenied, Unavailable, Unsupported
from curvefs.src.metaserver.metrics import Metrics
from curvefs.src.metaserver.worker import frames
from curvefs.src.metaserver.worker.worker import Worker
from curvefs.src.object.folder import FolderStore

# A worker that ends when it has read its first job, or never answers.
DIES = "import sys; sys.stdin.buffer.read(4)"
HANGS = "import time; time.sleep(600)"


class Running:
    """A worker, run as a server would."""

    def __init__(self, **more):
        self.metrics = Metrics()
        self.worker = Worker(self.metrics, **more)

    async def __aenter__(self):
        self.task = asyncio.create_task(self.worker.run())
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.wait([self.task])

    async def do(self, deadline_s=30.0, store="", **job):
        return await self.worker.run_job(pb.Job(object_store=store, **job), deadline_s)

    @property
    def starts(self):
        return self.metrics.registry.get_sample_value("metaserver_worker_starts_total")

    @property
    def pid(self):
        return self.worker._process.pid


@pytest.fixture
def store(tmp_path):
    made = FolderStore(tmp_path / "objects")
    for name in ("a/1", "a/2", "b/1"):
        made.put(name, b"bytes")
    return made


@pytest.fixture
def url(tmp_path, store):
    return (tmp_path / "objects").as_uri()


def names(store):
    return [one.key for one in store.list("")]


@pytest.mark.asyncio
async def test_objects_are_listed_and_deleted_by_one_process(store, url):
    async with Running() as running:
        page = await running.do(store=url, list=pb.ListObjects(prefix="a/", after="a/1", limit=5))
        assert list(page.list.names) == ["a/2"]
        await asyncio.gather(
            *(running.do(store=url, delete=pb.DeleteObjects(names=[name, "absent"])) for name in ("a/1", "b/1"))
        )
        assert names(store) == ["a/2"]
        assert running.starts == 1


@pytest.mark.asyncio
async def test_a_failure_comes_back_as_a_value_and_the_process_goes_on(tmp_path, store, url):
    async with Running() as running:
        with pytest.raises(Unsupported):
            await running.do(store=url)
        (tmp_path / "objects").rename(tmp_path / "gone")
        (tmp_path / "objects").touch()
        with pytest.raises((ObjectStoreUnavailable, PermissionDenied)):
            await running.do(store=url, list=pb.ListObjects(prefix="a/"))
        (tmp_path / "objects").unlink()
        (tmp_path / "gone").rename(tmp_path / "objects")
        assert (await running.do(store=url, list=pb.ListObjects(prefix="b/"))).list.names == ["b/1"]
        assert running.starts == 1


@pytest.mark.asyncio
async def test_a_killed_worker_is_started_again_for_the_next_job(store, url):
    async with Running() as running:
        await running.do(store=url, list=pb.ListObjects())
        os.kill(running.pid, signal.SIGKILL)
        while running.worker._process is not None:
            await asyncio.sleep(0.01)
        assert len((await running.do(store=url, list=pb.ListObjects())).list.names) == 3
        assert running.starts == 2


@pytest.mark.asyncio
async def test_jobs_of_a_worker_that_dies_fail_and_are_not_lost_silently():
    async with Running(command=(sys.executable, "-c", DIES)) as running:
        with pytest.raises(Unavailable, match="died"):
            await running.do(list=pb.ListObjects())


@pytest.mark.asyncio
async def test_a_worker_that_says_something_else_is_one_that_died():
    async with Running(command=(sys.executable, "-c", "print('hello, world' * 9)")) as running:
        with pytest.raises(Unavailable, match="died"):
            await running.do(list=pb.ListObjects())


@pytest.mark.asyncio
async def test_a_job_past_its_deadline_ends_the_worker():
    async with Running(command=(sys.executable, "-c", HANGS)) as running:
        other = asyncio.create_task(running.do(list=pb.ListObjects()))
        with pytest.raises(Unavailable, match="in time"):
            await running.do(deadline_s=0.5, list=pb.ListObjects())
        with pytest.raises(Unavailable, match="died"):
            await other


@pytest.mark.asyncio
async def test_a_worker_without_work_is_ended_and_comes_back(store, url):
    async with Running(idle_s=0.0) as running:
        for starts in (1, 2):
            assert len((await running.do(store=url, list=pb.ListObjects())).list.names) == 3
            while running.worker._process is not None:
                await asyncio.sleep(0.01)
            assert running.starts == starts


@pytest.mark.asyncio
async def test_a_worker_that_had_several_jobs_is_ended_and_not_started_for_nothing(store, url):
    async with Running(idle_s=0.0) as running:
        running.worker._idle_s = 3600.0
        for _ in range(3):
            await running.do(store=url, list=pb.ListObjects())
        running.worker._rest()
        while running.worker._resting:
            await asyncio.sleep(0.01)
        assert not running.worker._wanted.is_set()
        assert (running.worker._process, running.starts) == (None, 1)


@pytest.mark.asyncio
async def test_the_worker_ends_with_its_metaserver(store, url):
    async with Running() as running:
        await running.do(store=url, list=pb.ListObjects())
        process = running.worker._process
    assert process.returncode == 0


def test_a_worker_whose_metaserver_was_killed_ends(tmp_path):
    worker = [sys.executable, "-m", "curvefs.src.metaserver.worker", "info", "plain"]
    done = subprocess.run(worker, input=b"\0\0", stdout=subprocess.PIPE, check=True, timeout=60)
    assert done.stdout == b""


def test_it_runs_at_low_priority(tmp_path, store, url):
    worker = [sys.executable, "-m", "curvefs.src.metaserver.worker", "info", "plain"]
    job = pb.Job(job_id=1, object_store=url, list=pb.ListObjects())
    with subprocess.Popen(worker, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(frames.pack(job.SerializeToString()))
        process.stdin.flush()
        assert frames.read(process.stdout) is not None
        assert os.getpriority(os.PRIO_PROCESS, process.pid) >= os.getpriority(os.PRIO_PROCESS, 0) + 10
        process.stdin.close()
        assert process.wait(30) == 0
