"""What a metaserver makes of an MDS that does not take it."""

from types import SimpleNamespace

import pytest

from curvefs.proto import topology_pb2
from curvefs.src.common.errors import AlreadyExists, NotFound, PermissionDenied, StartupError, Unavailable
from curvefs.src.common.exits import ExitCode
from curvefs.src.metaserver import heartbeat
from curvefs.src.metaserver.epochs import Epochs
from curvefs.src.metaserver.heartbeat import MdsLink
from curvefs.src.process.data_folder import METASERVER, DataFolder
from curvefs.test.mds.clock import FakeClock

pytestmark = pytest.mark.asyncio


class Answers:
    """Answers registrations with these, one after the other, each after five seconds."""

    def __init__(self, clock, *answers):
        self.clock, self.answers = clock, list(answers)
        self.requests = []
        self.took_part = []  # whether the replicas may, as the link said

    async def call(self, _stub, _method, request, **_):
        self.clock.advance(5)
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def link(tmp_path, monkeypatch):
    monkeypatch.setattr(heartbeat, "_PAUSE_S", 0.0)
    folder = DataFolder(tmp_path, METASERVER)

    def make(*answers):
        clock = FakeClock()
        client = Answers(clock, *answers)
        made = MdsLink(
            client,
            folder,
            SimpleNamespace(all=list, damaged={}, take_part=lambda *, allowed: client.took_part.append(allowed)),
            Epochs(folder),
            None,
            clock=clock,
            instance=b"instance",
            server="rack1",
            peer_clocks=list,
            know=lambda *_: None,
            interval_ms=1,
            deadline_s=1.0,
        )
        return made, client

    yield make
    folder.close()


GIVEN = topology_pb2.RegisterMetaserverReply(epoch=1, cluster_id="c", metaserver_id=3, token=b"t", session_secret=b"s")


async def test_it_says_on_which_server_it_is(link):
    made, client = link(GIVEN)
    await made.register("127.0.0.1:1", "")
    assert (client.requests[0].server, made.identity.metaserver_id) == ("rack1", 3)


@pytest.mark.parametrize(
    ("error", "code"),
    [(PermissionDenied("wrong token"), ExitCode.REFUSED), (NotFound("there is no server 'rack1'"), ExitCode.NOT_FOUND)],
)
async def test_a_refusal_ends_it_at_once(link, error, code):
    made, client = link(Unavailable("not yet"), error)
    with pytest.raises(StartupError, match=str(error)) as ended:
        await made.register("127.0.0.1:1", "")
    assert (ended.value.exit_code, len(client.requests)) == (code, 2)


async def test_a_taken_address_is_waited_for_because_it_may_be_its_own(link):
    made, client = link(*[AlreadyExists("metaserver 1 is there")] * 3, GIVEN)
    await made.register("127.0.0.1:1", "")
    assert (len(client.requests), client.took_part) == (4, [False, False, False, True])


async def test_an_address_that_stays_taken_ends_it(link):
    made, client = link(*[AlreadyExists("metaserver 1 is there")] * 9)
    with pytest.raises(StartupError, match="metaserver 1 is there") as ended:
        await made.register("127.0.0.1:1", "")
    assert (ended.value.exit_code, len(client.requests)) == (ExitCode.ADDRESS_IN_USE, 5)


async def test_it_ends_when_another_process_is_this_metaserver(link):
    made, client = link(GIVEN, AlreadyExists("another process is metaserver 3 now, at 127.0.0.1:2"))
    await made.register("127.0.0.1:1", "")
    with pytest.raises(StartupError, match="another process is metaserver 3 now") as ended:
        await made.run()
    assert ended.value.exit_code == ExitCode.ADDRESS_IN_USE
    assert [request.instance for request in client.requests] == [b"instance"] * 2
