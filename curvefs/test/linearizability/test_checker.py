"""The checker says yes to what has an explanation and no to what has none, and says why."""

import random
from dataclasses import dataclass

import pytest

from curvefs.test.linearizability import exhaustive, tree
from curvefs.test.linearizability.checker import Model, Verdict, assert_linearizable, check
from curvefs.test.linearizability.history import UNKNOWN, Call
from curvefs.test.linearizability.namespace import Namespace
from curvefs.test.linearizability.operations import OK, Create, Lookup, Mkdir, Rename, Unlink
from curvefs.test.linearizability.random_histories import MANY_DIRECTORIES, MANY_FILES, Shape, random_history
from curvefs.test.linearizability.tree import ROOT

BOUND = 100_000


class Register(Model[int]):
    """One number. Says nothing about itself that the checker could use."""

    def initial(self):
        return 0

    def step(self, state, operation, answer):
        match operation:
            case ("write", number):
                return (number,)
            case ("read",):
                return (state,) if answer in (UNKNOWN, state) else ()


class Plain(Model[tree.State]):
    """A namespace that gives the checker no hints."""

    def __init__(self):
        self._model = Namespace()

    def initial(self):
        return self._model.initial()

    def step(self, state, operation, answer):
        return self._model.step(state, operation, answer)


def write(number, began, ended=None):
    return Call("w", number, ("write", number), began, ended, UNKNOWN if ended is None else None)


def read(number, began, ended):
    return Call("r", f"r{began}", ("read",), began, ended, number)


@pytest.mark.parametrize(
    ("is_ok", "calls"),
    [
        (True, []),
        (True, [write(1, 0)]),
        (True, [write(1, 0, 1), read(1, 2, 3)]),
        (False, [write(1, 0, 1), read(0, 2, 3)]),
        (False, [read(1, 0, 1), write(1, 2, 3)]),
        (True, [read(1, 0, 2), write(1, 2, 3)]),  # equal times overlap
        (True, [write(1, 0, 9), read(0, 1, 2), read(1, 3, 4)]),
        (False, [write(1, 0, 9), read(1, 1, 2), read(0, 3, 4)]),
        (True, [write(1, 0, 9), write(2, 0, 9), read(1, 1, 2), read(2, 3, 4)]),
        (False, [write(1, 0, 9), write(2, 0, 9), read(1, 1, 2), read(2, 3, 4), read(1, 5, 6)]),
        # Unknown outcome: never, at once, or much later; but once, and not before it began.
        (True, [write(1, 0), read(0, 1, 2)]),
        (True, [write(1, 0), read(1, 1, 2)]),
        (True, [write(1, 0), read(0, 1, 2), write(2, 3, 4), read(2, 5, 6), read(1, 7, 8)]),
        (False, [write(1, 0), read(1, 1, 2), write(2, 3, 4), read(1, 7, 8)]),
        (False, [read(1, 0, 1), write(1, 2)]),
        (False, [write(1, 0), read(1, 1, 2), read(0, 3, 4)]),
        # Two that ask the same count as two.
        (True, [write(1, 0), write(1, 0), read(1, 1, 2), write(2, 3, 4), read(1, 7, 8)]),
        (False, [write(1, 0), write(1, 5), read(1, 1, 2), write(2, 3, 4), read(1, 4.5, 4.7)]),
    ],
)
def test_a_register(is_ok, calls):
    assert check(Register(), calls, bound=BOUND).ok is is_ok
    assert exhaustive.by_permutations(Register(), calls) is is_ok


def test_the_order_that_is_returned_explains_the_answers():
    for seed in range(60):
        history = random_history(seed, Shape(operations=80, unknown=8, think=0.1))
        order = check(Namespace(), history, bound=BOUND).order
        assert {call for call in history if call.ended is not None} <= set(order)
        assert len(set(order)) == len(order)
        assert exhaustive.explains(Namespace(), order)
        assert exhaustive.keeps_real_time(order)


def test_a_history_passes_whatever_answers_are_lost():
    """Also those that told the numbers that others use."""
    for seed in range(60):
        rng = random.Random(seed)
        history = random_history(seed, Shape(operations=60, unknown=4, think=0.1))
        for place in rng.sample(range(60), 10):
            history[place] = exhaustive.without_answer(history[place])
        assert_linearizable(Namespace(), history, bound=BOUND)


@pytest.mark.parametrize("operations", [1, 3, 10, 30, 100, 300, 1000])
@pytest.mark.parametrize(("clients", "think"), [(1, 0.5), (3, 0.1), (8, 0.5), (8, 0.02), (16, 0.1)])
def test_right_histories_of_all_sizes_pass(operations, clients, think):
    for seed in range(3):
        shape = Shape(operations=operations, clients=clients, unknown=operations // 15, think=think)
        assert_linearizable(Namespace(), random_history(seed, shape), bound=BOUND)


def test_the_usual_size_needs_few_configurations():
    """300 calls of 8 clients, 20 of unknown outcome. Some 100 of the calls change something."""
    visited = [check(Namespace(), random_history(seed), bound=BOUND).visited for seed in range(100)]
    assert sorted(visited)[50] < 300
    assert max(visited) < 5_000


def test_a_long_history_needs_no_deep_stack():
    calls = [write(number, 2 * number, 2 * number + 1) for number in range(1, 10_000)]
    assert check(Register(), calls, bound=BOUND).ok
    assert not check(Register(), [*calls, read(1, 10**6, 10**6)], bound=BOUND).ok


def test_a_rename_above_a_new_parent_can_be_what_makes_another_one_a_loop():
    """Two renames that name nothing in common: c is below b, d below a; a moves into c, and then b not into d."""
    calls = [
        *(Call(1, place, operation, 2 * place, 2 * place + 1, (OK, 2 + place)) for place, operation in enumerate(LOOP)),
        Call(1, "a", Rename(ROOT, "a", 4, "a"), 10, 20, (OK,)),
        Call(2, "b", Rename(ROOT, "b", 5, "b"), 10, 15, "EINVAL"),
    ]
    assert check(Namespace(), calls, bound=BOUND).ok
    assert exhaustive.by_permutations(Namespace(), calls)


LOOP = [Mkdir(ROOT, "a"), Mkdir(ROOT, "b"), Mkdir(3, "c"), Mkdir(2, "d")]  # 2, 3, 4, 5


def made(seed, largest):
    """A small history of many conflicts, mostly made wrong."""
    rng = random.Random(seed)
    shape = Shape(
        operations=rng.randrange(3, largest),
        clients=rng.randrange(2, 6),
        unknown=rng.randrange(5),
        names=rng.randrange(1, 4),
        directories=rng.randrange(1, 3),
        think=rng.choice((0.05, 0.5)),
        late=rng.choice((1, 5)),
        weights=rng.choice((MANY_FILES, MANY_DIRECTORIES)),
    )
    history = random_history(seed, shape)
    for _ in range(rng.randrange(4)):
        history = exhaustive.made_wrong(rng, history)
    return history


def test_it_agrees_with_trying_every_order():
    verdicts = [0, 0]
    for seed in range(500):
        history = made(seed, 7)
        expected = exhaustive.by_permutations(Namespace(), history)
        assert check(Namespace(), history, bound=BOUND).ok is expected, f"seed {seed}"
        assert exhaustive.by_wing_and_gong(Namespace(), history) is expected, f"seed {seed}"
        verdicts[expected] += 1
    assert min(verdicts) > 80


def test_it_agrees_with_a_plain_search():
    """With the hints of the model and without, and when any error whose condition holds will do."""
    verdicts = [0, 0]
    for seed in range(1000, 1800):
        history = made(seed, 25)
        model = Namespace(any_error=seed % 3 == 0)
        expected = exhaustive.by_wing_and_gong(model, history)
        assert check(model, history, bound=BOUND).ok is expected, f"seed {seed}"
        if seed % 3:
            assert check(Plain(), history, bound=BOUND).ok is expected, f"seed {seed}"
        verdicts[expected] += 1
    assert min(verdicts) > 150


@dataclass(frozen=True)
class Bits(Model[frozenset[int]]):
    """A set of bits that can be set, blindly, and read as a whole: nothing can be put off."""

    def initial(self):
        return frozenset()

    def step(self, state, operation, answer):
        if operation[0] == "set":
            return (state | {operation[1]},)
        return (state,) if answer in (UNKNOWN, state) else ()


def test_it_gives_up_at_the_bound_and_says_so():
    """The sum of what 16 calls of unknown outcome did cannot be worked out in a thousand steps."""
    calls = [Call("c", bit, ("set", bit), 0) for bit in range(16)]
    calls.append(Call("c", "look", ("look",), 1, 2, frozenset(range(17))))
    result = check(Bits(), calls, bound=1000)
    assert result.verdict is Verdict.GAVE_UP
    assert result.visited == 1001
    with pytest.raises(AssertionError, match=r"^gave up, 1001 configurations visited(.|\n)*call look of client c"):
        assert_linearizable(Bits(), calls, bound=1000)


def test_the_counterexample_can_be_read():
    calls = [
        Call(1, 10, Create(ROOT, "a"), 0, 1, (OK, 2)),
        Call(2, 11, Create(ROOT, "b"), 0, 2, (OK, 3)),
        Call(1, 12, Unlink(ROOT, "b"), 3),
        Call(2, 13, Unlink(ROOT, "a"), 4, 5, (OK,)),
        Call(1, 14, Lookup(ROOT, "a"), 6, 9, (OK, 2)),
        Call(2, 15, Lookup(ROOT, "c"), 7, 20, (OK, 4)),
        Call(3, 16, Create(ROOT, "d"), 10, 11, (OK, 5)),
    ]
    assert str(check(Namespace(), calls, bound=BOUND)).splitlines() == [
        "not linearizable, 4 configurations visited. No order was found that gets past",
        "    call 14 of client 1 [6, 9]: Lookup(parent=1, name='a') -> ('ok', 2)",
        "    expected ENOENT",
        "open then, and not explained either:",
        "    call 15 of client 2 [7, 20]: Lookup(parent=1, name='c') -> ('ok', 4)",
        "the longest order of calls before it (* touches the same things):",
        "  * call 10 of client 1 [0, 1]: Create(parent=1, name='a', exclusive=True) -> ('ok', 2)",
        "    call 11 of client 2 [0, 2]: Create(parent=1, name='b', exclusive=True) -> ('ok', 3)",
        "  * call 13 of client 2 [4, 5]: Unlink(parent=1, name='a') -> ('ok')",
        "the state there:",
        "    1/ {'b': 3}",
        "    gone: 2",
    ]


def test_a_call_is_answered_and_ended_or_neither():
    with pytest.raises(AssertionError, match="an answer has a time"):
        Call(1, 1, ("read",), 0, 1)
    with pytest.raises(AssertionError, match="an answer has a time"):
        Call(1, 1, ("read",), 0, None, 5)
    with pytest.raises(AssertionError, match="ended before it began"):
        Call(1, 1, ("read",), 2, 1, 5)
