"""Two checkers that are too simple to be wrong, for small histories: what the fast one is held against.

And a history made wrong at random: whether it still has an explanation only these two can tell.
"""

import itertools
from dataclasses import replace

from curvefs.test.linearizability.history import UNKNOWN
from curvefs.test.linearizability.operations import OK, Create, Lookup, Mkdir

_ERRORS = ("ENOENT", "EEXIST", "EISDIR", "ENOTDIR", "ENOTEMPTY", "EINVAL", "EPERM")


def by_permutations(model, calls):
    """Try every order of every choice of the calls of unknown outcome: the definition, word by word."""
    known = [call for call in calls if call.ended is not None]
    unknown = [call for call in calls if call.ended is None]
    return any(
        _explains(model, order)
        for count in range(len(unknown) + 1)
        for chosen in itertools.combinations(unknown, count)
        for order in itertools.permutations([*known, *chosen])
    )


def _explains(model, order):
    return keeps_real_time(order) and explains(model, order)


def keeps_real_time(order):
    """Say whether no call comes after one that began when it had ended."""
    return not any(
        later.ended is not None and later.ended < earlier.began for earlier, later in itertools.combinations(order, 2)
    )


def explains(model, order):
    """Say whether the answers fit, one call after the other."""
    states = {model.initial()}
    for call in order:
        states = {after for state in states for after in model.step(state, call.operation, call.answer)}
    return bool(states)


def by_wing_and_gong(model, calls):
    """Search as Wing and Gong do, with a memory of (linearized, state) and nothing else."""
    calls = list(calls)
    known = sum(1 << place for place, call in enumerate(calls) if call.ended is not None)
    stack, seen = [(0, model.initial())], set()
    while stack:
        here = stack.pop()
        linearized, state = here
        if linearized & known == known:
            return True
        if here in seen:
            continue
        seen.add(here)
        waiting = [place for place in range(len(calls)) if not linearized >> place & 1]
        first_end = min(calls[place].ended for place in waiting if calls[place].ended is not None)
        for place in waiting:
            if calls[place].began <= first_end:
                following = model.step(state, calls[place].operation, calls[place].answer)
                stack.extend((linearized | 1 << place, after) for after in following)
    return False


def made_wrong(rng, history):
    """Change or lose one answer, or move one call in time. Often nobody could tell."""
    history = list(history)
    answered = [place for place, call in enumerate(history) if call.ended is not None]
    if not answered:
        return history
    place = rng.choice(answered)
    call = history[place]
    alike = [one.answer for one in history if one.ended is not None and type(one.operation) is type(call.operation)]
    makers = [one for one in history if isinstance(one.operation, Create | Mkdir | Lookup)]
    numbers = [one.answer[1] for one in makers if one.ended is not None and one.answer[0] == OK]
    match rng.randrange(11):
        case 0 | 1:
            shift = rng.uniform(-3, 3)
            history[place] = replace(call, began=call.began + shift, ended=call.ended + shift)
        case 2:
            history[place] = replace(call, answer=rng.choice(_ERRORS))
        case 3 | 4 if numbers and isinstance(call.operation, Create | Mkdir | Lookup):
            history[place] = replace(call, answer=(OK, rng.choice(numbers)))
        case 5:
            history[place] = without_answer(call)
        case _:
            history[place] = replace(call, answer=rng.choice(alike))
    return history


def without_answer(call):
    """The same call, with an outcome that nobody knows."""
    return replace(call, ended=None, answer=UNKNOWN)
