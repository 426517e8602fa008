"""What `compact` says, of files whose chunks are compacted by a fake."""

import json
import stat

import pytest
from click.testing import CliRunner
from curvefs_tool.files import compact as module

from curvefs.proto import files_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.errors import Unavailable
from curvefs.src.common.exits import ExitCode


def slices(*sizes):
    """Slices of these sizes in the store; 0: zeros."""
    return [pb.Slice(chunk_id=n, size=size, length=9, zero=not size) for n, size in enumerate(sizes)]


class File:
    """One chunk, before and after. answers: to who asks for compaction, the last one again; errors are raised."""

    def __init__(self, before, after=(10,), answers=()):
        self.slices, self.after = slices(*before), slices(*after)
        self.answers = [*answers, files_pb2.CompactChunkReply(compacted={"slices_after": len(after)})]
        self.asked = 0
        self.is_cut_off = False  # the lists of later chunks cannot be read

    def compact(self):
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if not answer.pending:
            self.slices = self.after
        return answer


class Files:
    """The files of a directory, numbered from 1 on."""

    def __init__(self, *files):
        self.files = dict(enumerate(files, 1))

    def __call__(self, mds, fs, **_):
        return self

    def find(self, path):
        return pb.Inode(mode=stat.S_IFDIR)

    def regular_files(self, inode, path, failed):
        for number, file in self.files.items():
            if file is None:
                failed(b"/d%d" % number, Unavailable("there is no leader"))
                continue
            yield b"/f%d" % number, pb.Inode(inode_id=number, mode=stat.S_IFREG)

    def slices(self, inode):
        yield 0, self.files[inode.inode_id].slices
        if self.files[inode.inode_id].is_cut_off:
            raise Unavailable("there is no leader")

    def slices_of(self, inode_id, chunk_index):
        return self.files[inode_id].slices

    def call(self, method, request):
        assert method == "CompactChunk"
        return self.files[request.inode_id].compact()


@pytest.fixture
def run(monkeypatch):
    def run(*files, code=ExitCode.OK, more=()):
        monkeypatch.setattr(module, "Files", Files(*files))
        said = CliRunner().invoke(module.compact, ["/", "--fs", "fs", "--mds", "mds:1", "--json", *more])
        assert said.exit_code == code, said.output
        return json.loads(said.stdout)

    return run


def test_bytes_afterwards_are_those_of_the_slices_that_are_left(run):
    in_steps = files_pb2.CompactChunkReply(compacted={"slices_before": 3, "slices_after": 1, "written_bytes": 4000})
    said = run(
        File([700, 300, 300], after=[1000], answers=[in_steps]),  # some bytes were written several times
        File([100, 100], after=[0]),  # zeros hid all there was
        File([80, 20], after=[80]),  # what was hidden was dropped: nothing was written
        File([5]),
    )
    assert (said["bytes_before"], said["bytes_after"]) == (1605, 1085)
    assert (said["slices_before"], said["slices_after"], said["written_bytes"]) == (8, 4, 4000)
    assert (said["files"], said["chunks"], said["compacted"], said["failed"]) == (4, 4, 3, 0)


def test_it_is_asked_for_until_it_is_done(run):
    file = File([7, 7], answers=[files_pb2.CompactChunkReply(pending=True)] * 3)
    assert run(file)["slices_after"] == 1
    assert file.asked == 4


def test_what_is_unavailable_has_failed_and_the_rest_is_gone_on_with(run):
    busy = File([7, 7], answers=[Unavailable("written so busily")])
    busy.answers.pop()
    cut_off = File([6, 6])
    cut_off.is_cut_off = True
    said = run(File([9, 9]), busy, None, cut_off, *(File([9, 9]) for _ in range(20)), code=ExitCode.FAILED)
    assert (said["files"], said["compacted"], said["failed"], said["late"]) == (23, 22, 3, False)
    assert (said["slices_before"], said["slices_after"], said["bytes_after"]) == (46, 24, 22 * 10 + 14)
    assert sorted(said["errors"]) == [
        "/d3: there is no leader",
        "/f2, chunk 0: written so busily",
        "/f4: there is no leader",
    ]


def test_after_the_deadline_nothing_is_asked_for(run):
    file = File([7, 7])
    said = run(file, code=ExitCode.FAILED, more=["--deadline", "1e-9"])
    assert (said["late"], said["failed"], said["slices_after"], file.asked) == (True, 0, 2, 0)
