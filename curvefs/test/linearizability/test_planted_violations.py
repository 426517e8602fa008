"""Every kind of lie is found, wherever it is hidden, and the report names who told it."""

import pytest

from curvefs.test.linearizability.checker import Verdict, check
from curvefs.test.linearizability.namespace import Namespace
from curvefs.test.linearizability.planted import KINDS
from curvefs.test.linearizability.random_histories import Shape, history_with

BOUND = 100_000

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@each_kind
@pytest.mark.parametrize("unknown", [0, 20])
def test_it_is_found_in_the_middle_of_much_else(kind, unknown):
    """And named, mostly: a reader of the whole directory can be the first whose answer contradicts it."""
    named = 0
    for seed in range(12):
        history, guilty = history_with(kind, seed, Shape(unknown=unknown))
        result = check(Namespace(), history, bound=BOUND)
        assert result.verdict is Verdict.VIOLATION, f"seed {seed}"
        named += bool(guilty & {call.id for call in result.blocked})
    assert named >= 11


@each_kind
def test_it_is_found_among_few_names(kind):
    for seed in range(25):
        history, _ = history_with(kind, seed, Shape(operations=100, unknown=8, names=3, directories=1, think=0.05))
        assert check(Namespace(), history, bound=BOUND).verdict is Verdict.VIOLATION, f"seed {seed}"


@each_kind
def test_alone_the_guilty_call_is_named(kind):
    for seed in range(40):
        history, guilty = history_with(kind, seed, Shape(operations=0))
        result = check(Namespace(), history, bound=BOUND)
        assert result.blocked[0].id in guilty, f"seed {seed}: {result}"


@each_kind
def test_the_lie_is_all_that_is_wrong(kind):
    """Without the guilty calls what is left has an explanation, unless others saw the contradiction too."""
    explained = 0
    for seed in range(25):
        history, guilty = history_with(kind, seed, Shape(operations=0))
        explained += check(Namespace(), [call for call in history if call.id not in guilty], bound=BOUND).ok
    assert explained >= 10
