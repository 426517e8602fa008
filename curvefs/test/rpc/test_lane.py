"""The lane against a model of the server's state machine: applied once, in order, whatever is lost or refused."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from curvefs.proto import common_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.errors import NoSpace, SequenceGap, SessionEnded
from curvefs.src.rpc.lane import BATCHES_IN_FLIGHT_MAX, NEVER_SENT, WINDOW, Lane


def operation(tag: int) -> pb.Operation:
    return pb.Operation(create=pb.Create(parent=1, name=b"%d" % tag))


class Group:
    """What rule 7 says of a group: exactly the next number is applied; lower ones get their stored result."""

    def __init__(self) -> None:
        self.expected = 1
        self.results: dict[int, pb.OperationResult] = {}
        self.applied: list[bytes] = []

    def take(self, batch: pb.OperationBatch) -> pb.OperationResults:
        answer = pb.OperationResults(group_id=batch.group_id, first_sequence=batch.first_sequence)
        for known in [s for s in self.results if s <= batch.acknowledged]:
            del self.results[known]
        for index, op in enumerate(batch.operations):
            sequence = batch.first_sequence + index
            if sequence > self.expected:
                answer.failure.code = common_pb2.SEQUENCE_GAP
                answer.failure.expected_sequence = self.expected
                break
            if sequence == self.expected:
                self.expected += 1
                if op.WhichOneof("operation") == "create":
                    self.applied.append(op.create.name)
                self.results[sequence] = pb.OperationResult(sequence=sequence)
            answer.results.append(self.results[sequence])
        assert len(self.results) <= WINDOW
        return answer


def test_operations_are_numbered_from_one_and_batched_while_one_is_under_way():
    lane, done = Lane(1, b"s" * 16, 7), []
    for tag in range(5):
        lane.submit(operation(tag), done.append)
    first = lane.next_batch()
    assert first is not None
    assert (first.first_sequence, len(first.operations)) == (1, 5)
    assert lane.next_batch() is None
    lane.submit(operation(5), done.append)
    second = lane.next_batch()
    assert second is not None
    assert (second.first_sequence, second.acknowledged) == (6, 0)
    lane.submit(operation(6), done.append)
    assert BATCHES_IN_FLIGHT_MAX == 2
    assert lane.next_batch() is None, "enough is under way"


def test_no_space_fails_callers_at_once_and_fills_their_numbers():
    lane, done = Lane(1, b"s" * 16, 7), []
    lane.submit(operation(0), done.append)
    batch = lane.next_batch()
    refusal = pb.OperationResults(group_id=7, first_sequence=1, not_appended=True)
    refusal.failure.code = common_pb2.NO_SPACE
    assert isinstance(lane.on_results(refusal), NoSpace)
    assert [type(outcome) for outcome in done] == [NoSpace]
    again = lane.next_batch()
    assert batch is not None
    assert again is not None
    assert again.first_sequence == 1
    assert again.operations[0].WhichOneof("operation") == "noop"


def test_no_space_fails_what_was_on_its_way_behind_a_refused_batch_too():
    lane, done = Lane(1, b"s" * 16, 7), []
    lane.submit(operation(0), done.append)
    lane.next_batch()
    lane.submit(operation(1), done.append)
    lane.next_batch()
    refusal = pb.OperationResults(group_id=7, first_sequence=1, not_appended=True)
    refusal.failure.code = common_pb2.NO_SPACE
    lane.on_results(refusal)
    assert lane.next_batch() is None, "the answer to the second is not known to belong to it otherwise"
    gap = pb.OperationResults(group_id=7, first_sequence=2)
    gap.failure.code = common_pb2.SEQUENCE_GAP
    gap.failure.expected_sequence = 1
    lane.on_results(gap)
    again = lane.next_batch()
    assert again is not None
    assert [one.WhichOneof("operation") for one in again.operations] == ["noop", "create"]
    lane.on_results(refusal)
    assert [type(outcome) for outcome in done] == [NoSpace, NoSpace]


def test_no_space_leaves_an_operation_that_may_have_been_applied_before():
    lane, done = Lane(1, b"s" * 16, 7), []
    lane.submit(operation(0), done.append)
    lane.next_batch()
    lane.rewind()  # the connection broke: its fate is unknown
    lane.next_batch()
    refusal = pb.OperationResults(group_id=7, first_sequence=1, not_appended=True)
    refusal.failure.code = common_pb2.NO_SPACE
    lane.on_results(refusal)
    assert not done
    again = lane.next_batch()
    assert again is not None
    assert again.operations[0].WhichOneof("operation") == "create"


def test_an_abandoned_operation_stays_if_it_was_sent_and_never_happens_if_not():
    lane = Lane(1, b"s" * 16, 7)
    lane.submit(operation(0), lambda _: None)
    lane.next_batch()
    lane.submit(operation(1), lambda _: None)
    lane.abandon(1)
    lane.abandon(2)
    lane.rewind()
    batch = lane.next_batch()
    assert batch is not None
    assert [one.WhichOneof("operation") for one in batch.operations] == ["create", "noop"]


def test_the_end_of_a_session_tells_what_was_never_sent():
    lane, done = Lane(1, b"s" * 16, 7), []
    lane.submit(operation(0), done.append)
    lane.next_batch()
    lane.submit(operation(1), done.append)
    lane.end()
    assert all(isinstance(outcome, SessionEnded) for outcome in done)
    assert [str(outcome) == NEVER_SENT for outcome in done] == [False, True]


def test_a_gap_sends_from_the_expected_number_again():
    lane, done = Lane(1, b"s" * 16, 7), []
    for tag in range(3):
        lane.submit(operation(tag), done.append)
    lane.next_batch()
    gap = pb.OperationResults(group_id=7, first_sequence=1)
    gap.failure.code = common_pb2.SEQUENCE_GAP
    gap.failure.expected_sequence = 1
    assert isinstance(lane.on_results(gap), SequenceGap)
    batch = lane.next_batch()
    assert batch is not None
    assert (batch.first_sequence, len(batch.operations)) == (1, 3)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 400))
def test_every_operation_is_applied_once_in_order_over_a_lossy_connection(seed, count):
    rng = random.Random(seed)
    lane, group = Lane(1, b"s" * 16, 7), Group()
    outcomes: list[int] = []
    wire: list[pb.OperationBatch] = []
    back: list[pb.OperationResults] = []
    submitted = steps = 0
    while len(outcomes) < count:
        steps += 1
        assert steps < 100_000, "no progress"
        match rng.randrange(6):
            case 0 | 1:
                for _ in range(rng.randrange(1, 40)):
                    if submitted < count:
                        lane.submit(operation(submitted), lambda outcome: outcomes.append(outcome.sequence))
                        submitted += 1
            case 2:
                while (batch := lane.next_batch()) is not None:
                    wire.append(batch)
            case 3:
                if wire:
                    back.append(group.take(wire.pop(0)))
            case 4:
                if back:
                    lane.on_results(back.pop(0))
            case _:
                if rng.random() < 0.2:  # the connection breaks; what is on the wire may or may not arrive
                    for batch in wire:
                        if rng.random() < 0.5:
                            break
                        group.take(batch)
                    wire, back = [], []
                    lane.rewind()
    assert outcomes == list(range(1, count + 1))
    assert group.applied == [b"%d" % tag for tag in range(count)]
