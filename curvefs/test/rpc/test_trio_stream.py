"""The stream with one metaserver, against a connection whose answers a test writes itself."""

import itertools

import pytest
import trio

from curvefs.proto import common_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.errors import (
    NoSpace,
    Overloaded,
    Redirect,
    SessionEnded,
    TokenRefused,
    Unavailable,
    Unreachable,
)
from curvefs.src.rpc.group_calls import GroupCalls
from curvefs.src.rpc.lane import NEVER_SENT
from curvefs.src.rpc.trio_stream import (
    LANE_S,
    SIGN_OF_LIFE_S,
    SILENT_S,
    Credentials,
    MetaserverStream,
    StreamListener,
)

pytestmark = pytest.mark.trio
SESSION = b"s" * 16


class Connection:
    """Notes what is sent."""

    def __init__(self, deliver):
        self.ended = trio.Event()
        self.closed = False
        self.deliver = deliver
        self.sent = []

    def send(self, frame):
        self.sent.append(pb.ClientFrame.FromString(frame.SerializeToString()))

    async def run(self):
        try:
            await self.ended.wait()
        finally:
            self.closed = True

    @property
    def hellos(self):
        return [list(frame.hello.groups) for frame in self.sent if frame.HasField("hello")]

    @property
    def sequences(self):
        """Return the numbers of each batch of operations."""
        return [
            list(range(batch.first_sequence, batch.first_sequence + len(batch.operations)))
            for frame in self.sent
            for batch in frame.operations
        ]

    def welcome(self, *groups, refused=()):
        """Admit a Hello, and answer for these groups."""
        self.deliver(pb.ServerFrame(welcome=pb.Welcome(), lanes=lanes(*groups, refused=refused)))

    def turn_down(self, code):
        """Refuse a Hello."""
        self.deliver(pb.ServerFrame(welcome=pb.Welcome(failure=common_pb2.Failure(code=code))))

    def open(self, *groups, refused=()):
        """Answer for groups of a Hello that was admitted."""
        self.deliver(pb.ServerFrame(lanes=lanes(*groups, refused=refused)))

    def results(self, group, *sequences):
        results = [pb.OperationResult(sequence=sequence) for sequence in sequences]
        self.deliver(pb.ServerFrame(operations=[pb.OperationResults(group_id=group, results=results)]))

    def refuse(self, group, first, code, *, not_appended=False, **fields):
        failure = common_pb2.Failure(code=code, **fields)
        refusal = pb.OperationResults(group_id=group, first_sequence=first, failure=failure, not_appended=not_appended)
        self.deliver(pb.ServerFrame(operations=[refusal]))


def lanes(*groups, refused=()):
    opened = [pb.Lane(group_id=group, expected_sequence=1) for group in groups]
    return opened + [pb.Lane(group_id=group, failure=failure) for group, failure in refused]


class Owner(StreamListener):
    """Attaches what is welcomed and notes the rest."""

    def __init__(self, nursery):
        self.connections = []
        self.refusing, self.refused = False, 0
        self.told = []
        self.read_ids = itertools.count(1)
        self.calls = {group: GroupCalls(1, SESSION, group, self.read_ids) for group in range(1, 5)}
        self.stream = MetaserverStream(
            "x:1", lambda: Credentials(1, SESSION, b"t"), self, connect=self._connect, random=lambda: 0.5
        )
        nursery.start_soon(self.stream.run)

    async def _connect(self, _, deliver):
        if self.refusing:
            self.refused += 1
            raise Unreachable
        self.connections.append(Connection(deliver))
        return self.connections[-1]

    def on_welcome(self, address, group_id):
        self.told.append(("welcome", group_id))
        self.stream.attach(self.calls[group_id])

    def on_turned_away(self, address, group_id, error):
        self.told.append((type(error), group_id))

    def on_session_ended(self, session_id):
        self.told.append(("ended", session_id))

    def on_token_refused(self, session_id):
        self.told.append((TokenRefused, session_id))

    def create(self, group, outcomes=None):
        outcomes = [] if outcomes is None else outcomes
        self.calls[group].submit(pb.Operation(create=pb.Create(parent=1, name=b"n")), outcomes.append)
        self.stream.flush()
        return outcomes


async def settle():
    await trio.sleep(0.001)


@pytest.fixture
def owner(nursery, autojump_clock):
    return Owner(nursery)


async def opened(owner, *groups):
    for group in groups:
        owner.stream.present(group)
    await settle()
    owner.connections[-1].welcome(*groups)
    return owner.connections[-1]


async def test_nothing_is_connected_before_a_group_is_to_be_presented(owner, autojump_clock):
    await trio.sleep(100.0)
    assert not owner.connections
    owner.stream.present(1)
    await settle()
    assert owner.connections[0].hellos == [[1]]


async def test_groups_presented_while_a_hello_is_under_way_go_together_in_the_next(owner, autojump_clock):
    owner.stream.present(1)
    await settle()
    for group in (3, 2, 3, 1):
        owner.stream.present(group)
    (connection,) = owner.connections
    assert connection.hellos == [[1]]
    connection.welcome(1)
    assert connection.hellos == [[1], [2, 3]]
    connection.welcome(2, 3)
    assert owner.told == [("welcome", 1), ("welcome", 2), ("welcome", 3)]


async def test_a_withdrawn_group_is_not_presented(owner, autojump_clock):
    owner.stream.present(1)
    await settle()
    owner.stream.present(2)
    owner.stream.withdraw(2)
    owner.connections[0].welcome(1)
    assert owner.connections[0].hellos == [[1]]


async def test_what_waits_is_sent_once_the_group_is_welcomed(owner, autojump_clock):
    owner.create(1)
    owner.create(1)
    connection = await opened(owner, 1)
    assert connection.sequences == [[1, 2]]


async def test_a_group_that_is_led_elsewhere_is_turned_away_and_the_others_are_not(owner, autojump_clock):
    owner.stream.present(1)
    owner.stream.present(2)
    await settle()
    owner.connections[0].welcome(1, refused=[(2, common_pb2.Failure(code=common_pb2.REDIRECT, leader="y:1"))])
    assert owner.told == [("welcome", 1), (Redirect, 2)]


async def test_a_redirect_takes_the_group_away_and_its_late_answers_do_not_count(owner, autojump_clock):
    connection = await opened(owner, 1, 2)
    outcomes = owner.create(1)
    owner.create(1, outcomes)
    connection.refuse(1, 1, common_pb2.REDIRECT, leader="y:1")
    assert owner.told[-1] == (Redirect, 1)
    connection.results(1, 2)  # of the second batch, which was on its way
    assert not outcomes
    owner.create(1, outcomes)
    assert connection.sequences == [[1], [2]], "nothing flows any more"
    owner.create(2)
    assert connection.sequences == [[1], [2], [1]], "the other group's does"
    owner.stream.present(1)
    connection.welcome(1)
    assert connection.sequences[3:] == [[1, 2, 3]], "all that is unanswered, with the same numbers"


async def test_a_broken_connection_turns_all_groups_away(owner, autojump_clock):
    connection = await opened(owner, 1, 2)
    owner.create(1)
    owner.stream.present(3)
    connection.ended.set()
    await settle()
    assert owner.told[2:] == [(Unreachable, 1), (Unreachable, 2), (Unreachable, 3)]
    assert connection.closed
    await trio.sleep(10.0)
    assert len(owner.connections) == 1, "nobody asks for anything here"
    await opened(owner, 1)
    assert owner.connections[1].sequences == [[1]]


async def test_connections_that_end_at_once_are_paced(owner, autojump_clock):
    for _ in range(1000):
        owner.stream.present(1)
        await trio.sleep(0.01)
        if not owner.connections[-1].ended.is_set():
            owner.connections[-1].ended.set()
    assert 20 < len(owner.connections) < 60, "in ten seconds"


async def test_connecting_in_vain_is_paced_and_told_each_time(owner, autojump_clock):
    owner.refusing = True
    for _ in range(1000):
        owner.stream.present(1)
        await trio.sleep(0.01)
    assert 20 < owner.refused < 60, "in ten seconds"
    assert owner.told == [(Unreachable, 1)] * len(owner.told)
    assert owner.refused - 1 <= len(owner.told) <= owner.refused
    owner.refusing = False
    owner.create(1)
    owner.stream.present(1)
    while not owner.connections:
        await trio.sleep(0.01)
    await settle()
    owner.connections[-1].welcome(1)
    assert owner.connections[-1].sequences == [[1]]


async def test_a_reset_while_it_connects_ends_that(owner, autojump_clock):
    stuck = trio.Event()

    async def connect(_address, _deliver):
        await stuck.wait()

    before, owner.stream._connect = owner.stream._connect, connect
    owner.stream.present(1)
    await settle()
    owner.stream.reset()
    owner.stream._connect = before
    await trio.sleep(1.0)
    await opened(owner, 2)
    assert owner.told == [("welcome", 2)]


async def test_a_silent_connection_is_asked_for_a_sign_of_life_and_given_up(owner, autojump_clock):
    connection = await opened(owner, 1)
    await trio.sleep(50.0)
    assert not connection.closed
    owner.create(1)
    await trio.sleep(SIGN_OF_LIFE_S - 0.01)
    assert connection.hellos == [[1]]
    await trio.sleep(0.02)
    assert connection.hellos == [[1], []]
    await trio.sleep(SILENT_S - SIGN_OF_LIFE_S - 0.05)
    assert not connection.closed
    await trio.sleep(0.1)
    assert connection.closed
    assert owner.told[-1] == (Unreachable, 1)


async def test_any_frame_shows_that_the_other_side_lives(owner, autojump_clock):
    connection = await opened(owner, 1)
    owner.create(1)
    for _ in range(20):
        await trio.sleep(SIGN_OF_LIFE_S + 0.1)
        connection.welcome()
    assert not connection.closed


async def test_a_hello_that_nobody_answers_is_given_up_as_soon(owner, autojump_clock):
    owner.stream.present(1)
    await trio.sleep(SILENT_S + 0.1)
    assert owner.connections[0].closed
    assert owner.told == [(Unreachable, 1)]


async def alive(connection, seconds):
    """Let time pass; the metaserver answers who asks for a sign of life."""
    answered = len(connection.hellos)
    with trio.move_on_after(seconds):
        while True:
            await trio.sleep(0.1)
            for groups in connection.hellos[answered:]:
                assert not groups
                connection.welcome()
                answered += 1


async def test_a_group_that_is_never_opened_keeps_no_other_away_and_the_connection_stays(owner, autojump_clock):
    owner.stream.present(1)
    owner.stream.present(2)
    await settle()
    (connection,) = owner.connections
    connection.welcome(1)
    assert owner.told == [("welcome", 1)]
    for group in (3, 4):
        await alive(connection, 2 * SILENT_S)
        owner.stream.present(group)
        assert connection.hellos[-1] == [group]
        connection.welcome()
        connection.open(group)
        assert owner.told[-1] == ("welcome", group)
    assert len(connection.hellos) > 5, "it was asked for signs of life"
    assert not connection.closed
    connection.open(2)
    assert owner.told == [("welcome", group) for group in (1, 3, 4, 2)]
    hellos = len(connection.hellos)
    await trio.sleep(SILENT_S + 0.1)
    assert len(connection.hellos) == hellos, "nothing is due"


async def test_a_lane_that_never_comes_is_waited_for_so_long(owner, autojump_clock):
    connection = await opened(owner, 1)
    owner.stream.present(2)
    connection.welcome()
    await alive(connection, 1.0)
    owner.stream.present(3)
    connection.welcome()
    await alive(connection, LANE_S - 1.2)
    assert owner.told == [("welcome", 1)]
    await alive(connection, 0.3)
    assert owner.told[1:] == [(Unavailable, 2)]
    await alive(connection, 1.0)
    assert owner.told[1:] == [(Unavailable, 2), (Unavailable, 3)]
    connection.open(2)
    assert len(owner.told) == 3, "it comes too late"
    owner.stream.present(2)
    assert connection.hellos[-1] == [2]
    connection.welcome(2)
    assert owner.told[-1] == ("welcome", 2)
    await trio.sleep(LANE_S + 1.0)
    assert not connection.closed
    assert owner.connections == [connection]


async def test_a_refused_hello_turns_its_own_groups_away_and_not_those_that_are_being_opened(owner, autojump_clock):
    owner.stream.present(1)
    await settle()
    (connection,) = owner.connections
    connection.welcome()
    owner.stream.present(2)
    owner.stream.present(3)
    connection.turn_down(common_pb2.OVERLOADED)
    assert owner.told == [(Overloaded, 2)]
    connection.turn_down(common_pb2.OVERLOADED)
    assert owner.told == [(Overloaded, 2), (Overloaded, 3)]
    connection.open(1, 2)
    assert owner.told[2:] == [("welcome", 1)], "the other was not admitted"


async def test_a_group_is_presented_once_until_it_is_answered(owner, autojump_clock):
    owner.stream.present(1)
    await settle()
    (connection,) = owner.connections
    connection.welcome()
    owner.stream.present(1)
    assert connection.hellos == [[1]]
    connection.open(refused=[(1, common_pb2.Failure(code=common_pb2.REDIRECT))])
    owner.stream.present(1)
    assert connection.hellos == [[1], [1]]
    assert owner.told == [(Redirect, 1)]


async def test_a_metaserver_that_falls_silent_while_lanes_are_due_is_given_up(owner, autojump_clock):
    owner.stream.present(1)
    await settle()
    (connection,) = owner.connections
    connection.welcome()
    assert owner.stream.connected
    await trio.sleep(SIGN_OF_LIFE_S + 0.1)
    owner.stream.present(2)
    await trio.sleep(SILENT_S)
    assert connection.closed
    assert connection.hellos == [[1], []]
    assert owner.told == [(Unreachable, 2), (Unreachable, 1)]
    await trio.sleep(LANE_S)
    assert len(owner.told) == 2
    await opened(owner, 1)
    assert owner.connections[1].hellos == [[1]]


async def test_lanes_that_are_due_are_forgotten_by_a_reset(owner, autojump_clock):
    owner.stream.present(1)
    await settle()
    owner.connections[0].welcome()
    owner.stream.reset()
    owner.stream.present(1)
    await trio.sleep(0.1)
    owner.connections[0].open(1)
    assert not owner.told
    assert owner.connections[1].hellos == [[1]]
    owner.connections[1].welcome(1)
    await trio.sleep(2 * LANE_S)
    assert owner.told == [("welcome", 1)]


async def test_a_session_that_has_ended_in_one_group_ends_once(owner, autojump_clock):
    owner.stream.present(1)
    owner.stream.present(2)
    await settle()
    (connection,) = owner.connections
    owner.on_session_ended = lambda session_id: (owner.told.append(("ended", session_id)), owner.stream.reset())
    ended = common_pb2.Failure(code=common_pb2.SESSION_ENDED)
    connection.welcome(refused=[(1, ended), (2, ended)])
    assert owner.told == [("ended", SESSION), (SessionEnded, 1)]


async def test_an_overloaded_group_pauses_alone(owner, autojump_clock):
    connection = await opened(owner, 1, 2)
    owner.create(1)
    connection.refuse(1, 1, common_pb2.OVERLOADED, retry_after_ms=700)
    owner.create(1)
    owner.create(2)
    assert connection.sequences == [[1], [1]]
    await trio.sleep(0.69)
    connection.results(2, 1)
    assert connection.sequences == [[1], [1]]
    await trio.sleep(0.02)
    assert connection.sequences == [[1], [1], [1, 2]]


async def test_a_gap_is_sent_again_from_where_it_begins(owner, autojump_clock):
    connection = await opened(owner, 1)
    owner.create(1)
    owner.create(1)
    connection.refuse(1, 1, common_pb2.NO_SPACE, not_appended=True)
    connection.refuse(1, 2, common_pb2.SEQUENCE_GAP, expected_sequence=1)
    await trio.sleep(0.1)
    assert connection.sequences == [[1], [2], [1, 2]]


async def test_a_full_disk_holds_up_changes_and_not_reads(owner, autojump_clock):
    connection = await opened(owner, 1)
    owner.create(1)
    connection.refuse(1, 1, common_pb2.NO_SPACE, not_appended=True)
    owner.calls[1].read(pb.Read(), lambda _: None)
    owner.create(1)
    assert [len(frame.reads) for frame in connection.sent if not frame.HasField("hello")] == [0, 1]
    assert connection.sequences == [[1]]
    await trio.sleep(0.1)
    assert connection.sequences == [[1], [1, 2]]


async def test_a_refused_token_asks_for_another_one_and_leaves_open_groups_alone(owner, autojump_clock):
    connection = await opened(owner, 1)
    owner.stream.present(2)
    connection.turn_down(common_pb2.TOKEN_REFUSED)
    assert owner.told[1:] == [(TokenRefused, SESSION), (TokenRefused, 2)]
    owner.create(1)
    assert connection.sequences == [[1]]


async def test_a_token_refused_by_one_group_asks_for_another_one(owner, autojump_clock):
    connection = await opened(owner, 1)
    owner.stream.present(2)
    connection.welcome(refused=[(2, common_pb2.Failure(code=common_pb2.TOKEN_REFUSED))])
    assert owner.told[1:] == [(TokenRefused, SESSION), (TokenRefused, 2)]


async def test_the_end_of_the_session_is_passed_on(owner, autojump_clock):
    connection = await opened(owner, 1)
    owner.create(1)
    connection.refuse(1, 1, common_pb2.SESSION_ENDED)
    assert owner.told[-1] == ("ended", SESSION)


async def test_after_a_reset_nothing_of_the_session_before_is_sent_or_heard(owner, autojump_clock):
    connection = await opened(owner, 1)
    outcomes = owner.create(1)
    owner.stream.reset()
    connection.results(1, 1)
    assert not outcomes
    owner.stream.present(2)
    await trio.sleep(0.1)
    assert connection.closed
    assert owner.connections[1].hellos == [[2]]
    assert owner.told == [("welcome", 1)]


async def test_reads_refused_for_the_group_are_kept_and_others_are_answered(owner, autojump_clock):
    connection = await opened(owner, 1)
    outcomes = []
    for inode in (5, 6):
        owner.calls[1].read(pb.Read(get_attr=pb.GetAttr(inode_id=inode)), outcomes.append)
    owner.stream.flush()
    first, second = connection.sent[-1].reads[0].reads
    answers = [
        pb.ReadResult(read_id=first.read_id, failure=common_pb2.Failure(code=common_pb2.NOT_FOUND)),
        pb.ReadResult(read_id=second.read_id, failure=common_pb2.Failure(code=common_pb2.REDIRECT, leader="y:1")),
    ]
    connection.deliver(pb.ServerFrame(reads=[pb.ReadResults(results=answers)]))
    assert [outcome.failure.code for outcome in outcomes] == [common_pb2.NOT_FOUND]
    assert owner.told[-1] == (Redirect, 1)
    owner.stream.present(1)
    connection.welcome(1)
    assert [read.read_id for read in connection.sent[-1].reads[0].reads] == [second.read_id]


async def test_a_transaction_refused_for_itself_leaves_the_group_where_it_is(owner, autojump_clock):
    connection = await opened(owner, 1)
    owner.calls[1].transact(pb.Operation(unlink=pb.Unlink(parent=1, name=b"n")), lambda _: None)
    owner.stream.flush()
    reply = pb.TransactionReply(group_id=1, number=1, failure=common_pb2.Failure(code=common_pb2.UNAVAILABLE))
    connection.deliver(pb.ServerFrame(transactions=[reply]))
    owner.create(1)
    assert connection.sequences == [[1]], "the lane does not wait for it"
    await trio.sleep(0.1)
    assert [request.number for frame in connection.sent for request in frame.transactions] == [1, 1]
    assert owner.told == [("welcome", 1)]


@pytest.mark.parametrize("code", [common_pb2.NO_SPACE, common_pb2.REDIRECT])
async def test_a_refusal_of_an_earlier_batch_says_nothing_of_a_later_one(owner, autojump_clock, code):
    """The group was taken away and came back on one connection; its welcome overtook the refusal."""
    connection = await opened(owner, 1)
    owner.create(1)
    owner.calls[1].read(pb.Read(stat_fs=pb.StatFs()), [].append)
    owner.stream.flush()
    redirect = pb.ReadResult(read_id=1, failure=common_pb2.Failure(code=common_pb2.REDIRECT))
    connection.deliver(pb.ServerFrame(reads=[pb.ReadResults(results=[redirect])]))
    owner.stream.present(1)
    await settle()
    second = owner.create(1)
    connection.welcome(1)
    connection.refuse(1, 1, code, not_appended=True)
    await settle()
    assert [1, 2] in connection.sequences
    owner.calls[1].end()
    (outcome,) = second
    assert isinstance(outcome, SessionEnded)
    assert str(outcome) != NEVER_SENT


async def test_a_transaction_that_a_full_disk_refuses_is_told_so(owner, autojump_clock):
    connection = await opened(owner, 1)
    outcomes = []
    owner.calls[1].transact(pb.Operation(create=pb.Create(parent=1, name=b"d", mode=0o40755)), outcomes.append)
    owner.stream.flush()
    full = common_pb2.Failure(code=common_pb2.NO_SPACE)
    connection.deliver(pb.ServerFrame(transactions=[pb.TransactionReply(group_id=1, number=1, failure=full)]))
    await settle()
    (outcome,) = outcomes
    assert isinstance(outcome, NoSpace)
