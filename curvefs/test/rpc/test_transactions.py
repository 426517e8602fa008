"""Numbered transactions against a model of the group: done once, answered however often they are sent."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from curvefs.proto import common_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.errors import NoSpace, SessionEnded, Unavailable
from curvefs.src.rpc.lane import NEVER_SENT
from curvefs.src.rpc.transactions import NUMBERS_MAX, WINDOW, Transactions


def make():
    return Transactions(1, b"s" * 16, 7)


def rename(tag: int) -> pb.Operation:
    return pb.Operation(rename=pb.Rename(parent=1, name=b"%d" % tag, new_parent=1 << 40, new_name=b"x"))


def sent(transactions, now=0.0):
    frame = pb.ClientFrame()
    transactions.add_to(frame, now)
    return list(frame.transactions)


def reply(number, code=0):
    answer = pb.TransactionReply(group_id=7, number=number)
    if code:
        answer.failure.code = code
    else:
        answer.result.sequence = number
    return answer


def test_numbers_begin_at_one_and_only_a_window_is_under_way():
    transactions, done = make(), []
    for tag in range(WINDOW + 5):
        transactions.submit(rename(tag), done.append)
    first = sent(transactions)
    assert [request.number for request in first] == list(range(1, WINDOW + 1))
    assert not sent(transactions), "enough is under way"
    transactions.on_reply(reply(3))
    (further,) = sent(transactions)
    assert (further.number, further.acknowledged) == (WINDOW + 1, 0)
    transactions.on_reply(reply(2))
    transactions.on_reply(reply(1))
    assert [request.acknowledged for request in sent(transactions)] == [3, 3], "up to where every answer has arrived"
    assert [outcome.sequence for outcome in done] == [3, 2, 1]


def test_numbers_under_way_lie_within_what_the_group_keeps():
    transactions = make()
    for tag in range(2 * NUMBERS_MAX):
        transactions.submit(rename(tag), lambda _: None)
    numbers = []
    while some := sent(transactions):
        numbers += [request.number for request in some]
        for request in some:
            if request.number > 1:  # the first one is never answered
                transactions.on_reply(reply(request.number))
    assert numbers == list(range(1, NUMBERS_MAX + 1))


def test_a_refused_one_is_sent_again_with_its_number_when_its_time_has_come():
    transactions, done = make(), []
    transactions.submit(rename(1), done.append)
    sent(transactions)
    refused = transactions.on_reply(reply(1, common_pb2.UNAVAILABLE))
    assert refused is not None
    transaction, error = refused
    assert isinstance(error, Unavailable)
    transactions.send_again(transaction, 5.0)
    assert transactions.next_due == 5.0
    assert not sent(transactions, 4.9)
    assert [request.number for request in sent(transactions, 5.0)] == [1]
    assert not done


def test_an_abandoned_one_stays_until_its_answer_and_one_that_was_never_sent_goes():
    transactions = make()
    first = transactions.submit(rename(1), lambda _: None)
    sent(transactions)
    transactions.abandon(first)
    transactions.rewind()
    assert [request.number for request in sent(transactions)] == [1]
    second = transactions.submit(rename(2), lambda _: None)
    transactions.abandon(second)
    assert not sent(transactions)
    transactions.on_reply(reply(1))
    assert transactions.idle
    transactions.submit(rename(3), lambda _: None)
    assert [(request.number, request.acknowledged) for request in sent(transactions)] == [(2, 1)]


def test_a_second_answer_to_one_number_is_ignored():
    transactions, done = make(), []
    transactions.submit(rename(1), done.append)
    sent(transactions)
    transactions.rewind()
    transactions.on_reply(reply(1))
    assert transactions.on_reply(reply(1, common_pb2.UNAVAILABLE)) is None
    assert not sent(transactions)
    assert len(done) == 1


def test_the_end_of_a_session_tells_what_was_never_sent():
    transactions, done = make(), []
    transactions.submit(rename(0), done.append)
    sent(transactions)
    transactions.submit(rename(1), done.append)
    transactions.end()
    assert all(isinstance(outcome, SessionEnded) for outcome in done)
    assert [str(outcome) == NEVER_SENT for outcome in done] == [False, True]


class Group:
    """Does what is new, answers what is kept, and holds that nothing comes again whose answer was acknowledged."""

    def __init__(self) -> None:
        self.done: list[bytes] = []
        self.kept: dict[int, pb.TransactionReply] = {}
        self.acknowledged = 0

    def take(self, request: pb.TransactionRequest) -> pb.TransactionReply:
        self.acknowledged = max(self.acknowledged, request.acknowledged)
        for known in [number for number in self.kept if number <= self.acknowledged]:
            del self.kept[known]
        assert request.number > self.acknowledged
        if request.number not in self.kept:
            self.done.append(request.operation.rename.name)
            self.kept[request.number] = reply(request.number)
        assert len(self.kept) <= NUMBERS_MAX
        return self.kept[request.number]


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 300))
def test_every_transaction_is_done_once_over_a_lossy_connection(seed, count):
    rng = random.Random(seed)
    transactions, group = make(), Group()
    outcomes: list[int] = []
    wire: list[pb.TransactionRequest] = []
    back: list[pb.TransactionReply] = []
    submitted = steps = 0
    while len(outcomes) < count:
        steps += 1
        assert steps < 100_000, "no progress"
        match rng.randrange(6):
            case 0 | 1:
                for _ in range(rng.randrange(1, 40)):
                    if submitted < count:
                        transactions.submit(rename(submitted), lambda outcome: outcomes.append(outcome.sequence))
                        submitted += 1
            case 2:
                wire += sent(transactions, float(steps))
            case 3:
                if wire:
                    request = wire.pop(0)
                    back.append(
                        reply(request.number, common_pb2.UNAVAILABLE) if rng.random() < 0.2 else group.take(request)
                    )
            case 4:
                if back:
                    refused = transactions.on_reply(back.pop(rng.randrange(len(back))))
                    if refused is not None:
                        transactions.send_again(refused[0], steps + 3.0)
            case _:
                if rng.random() < 0.2:  # the connection breaks; what is on the wire may or may not arrive
                    for request in wire:
                        if rng.random() < 0.5:
                            group.take(request)
                    wire, back = [], []
                    transactions.rewind()
    assert sorted(outcomes) == list(range(1, count + 1))
    assert sorted(group.done) == sorted(b"%d" % tag for tag in range(count))


def test_one_that_never_gets_done_holds_up_no_others_when_nobody_waits_for_it_any_more():
    transactions, done = make(), []
    stuck = transactions.submit(rename(0), done.append)
    (request,) = sent(transactions)
    transactions.on_reply(reply(request.number, common_pb2.UNAVAILABLE))
    transactions.abandon(stuck)
    transactions.send_again(stuck, 0.0)
    for tag in range(1, 2 * NUMBERS_MAX):
        transactions.submit(rename(tag), done.append)
        for request in sent(transactions):
            if request.number == 1:
                assert request.operation.HasField("noop")  # refused for good by the group, which keeps that answer
            transactions.on_reply(reply(request.number))
    assert len(done) == 2 * NUMBERS_MAX - 1


def test_a_full_disk_is_told_of_what_surely_entered_no_log():
    transactions, done = make(), []
    for tag in range(2):
        transactions.submit(rename(tag), done.append)
    sent(transactions)
    transactions.on_reply(reply(1, common_pb2.NO_SPACE))
    assert isinstance(done.pop(), NoSpace)
    assert transactions.acknowledged == 1
    again, _ = transactions.on_reply(reply(2, common_pb2.UNAVAILABLE))
    transactions.send_again(again, 0.0)
    sent(transactions)
    again, error = transactions.on_reply(reply(2, common_pb2.NO_SPACE))  # the first sending may have been done
    assert isinstance(error, NoSpace)
    assert not done
    transactions.send_again(again, 0.0)
    sent(transactions)
    transactions.on_reply(reply(2))
    assert [outcome.sequence for outcome in done] == [2]
