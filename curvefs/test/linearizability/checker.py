"""Is a history linearizable? The search for one order of its calls that explains every answer.

Linearizable: each call can be given an instant between its beginning and its end, so that one copy of the object, asked
in the order of the instants, gives the answers that were given (Herlihy and Wing, 1990). Wing and Gong (1993) search
for that order by trying and going back. Lowe (2017, "Testing for linearizability") remembers the configurations (what
is linearized, state) where the search has been, and linearizes just in time: only when a call returns must it have its
instant, with whatever has to come before it. This is Lowe's just-in-time graph search. Horn and Kroening (2015) check
parts of the object apart; a namespace has no such parts, renames span them, so a finer relation takes their place.

The search goes through the returns in the order of time. A configuration is (next return, state, calls linearized that
are still open). At a return of ``r`` that has no instant yet, ``r`` gets one, or a chain of open calls and then ``r``.
When nothing is open, only the state is left of a configuration: there the history is cut, and the set of possible
states is all that goes on.

What keeps it small; a configuration is good if the search can be finished from it:
    1. A call that never changes the state (a read, a refusal) and can go now, goes now. Where it is good to take it
       later, it is good to take it now: it leaves everything as it is.
    2. Calls that need not come before ``r`` come later: a chain has only calls that conflict with ``r``, or with a
       call of the chain that does. Whether two calls conflict the model says by what they read and write (Footprint).
    3. Calls of unknown outcome need not go at all. They are in chains only, if they change something, and of those
       that ask the same the first goes first. Of two configurations that differ only in which of them went, the one
       where fewer did is as good as the other.
    4. ``r`` alone is tried first, longer chains last; alternatives are worked out when the search comes back to them.

The search is a stack of generators, so a history may be as long as memory allows; the caller bounds the configurations.
"""

from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, Protocol, TypeVar

from curvefs.test.linearizability.history import UNKNOWN, Call

State = TypeVar("State", bound=Hashable)
_SHOWN_MAX = 40
_CHAINS_MAX = (2, 5, 10**9)


class Footprint(NamedTuple):
    """What a call depends on, and what it changes. Two calls conflict if one writes what the other reads.

    Writes of one thing that do not commute must be reads of it too.
    """

    reads: frozenset[Hashable]
    writes: frozenset[Hashable]


class Model(Protocol[State]):
    """An object as one client alone would see it. Only the first two methods are needed, the rest makes it fast."""

    def initial(self) -> State:
        """Return the state before the first call. States are hashable and never change."""
        ...

    def step(self, state: State, operation: Any, answer: Any) -> Sequence[State]:
        """Return the states that may follow; none if this cannot be the answer. With UNKNOWN every answer may be.

        A call that changes nothing returns the state it was given.
        """
        ...

    def observes(self, operation: Any, answer: Any) -> bool:
        """Say whether a call with this answer never changes what later calls are told, whenever it happens."""
        return False

    def footprint(self, state: State, operation: Any, answer: Any, *, sought: bool) -> Footprint | None:
        """Return what a call reads and writes in this state, and in all that calls in conflict with it lead to.

        sought: it cannot be answered so in this state, and what could make it so is looked for; it is enough to name
        what differs from the answer. None: it may conflict with everything.
        """
        return None

    def expected(self, state: State, operation: Any) -> str:
        """Say what the answer would be in this state, for people."""
        return "something else"

    def describe(self, state: State) -> str:
        """Return a state for people."""
        return str(state)


class Verdict(Enum):
    """What came out."""

    LINEARIZABLE = "linearizable"
    VIOLATION = "not linearizable"
    GAVE_UP = "gave up"


@dataclass(frozen=True, slots=True)
class Result:
    """An order that explains every answer; or the longest that was found, and what could not go on from there.

    order: the calls in the order of their instants; touching: places in it of those that touch what the blocked call
    does. blocked: calls without an instant that are open when there is no way on; the first is the one whose return no
    order gets past. expected: what the model would have answered to that one, in that state.
    """

    verdict: Verdict
    visited: int
    order: tuple[Call, ...]
    blocked: tuple[Call, ...] = ()
    expected: str = ""
    state: str = ""
    touching: frozenset[int] = frozenset()

    @property
    def ok(self) -> bool:
        """True if it is linearizable."""
        return self.verdict is Verdict.LINEARIZABLE

    def __str__(self) -> str:
        head = f"{self.verdict.value}, {self.visited} configurations visited"
        if self.ok:
            return head
        lines = [
            f"{head}. No order was found that gets past",
            f"    {self.blocked[0]}",
            f"    expected {self.expected}",
        ]
        if self.blocked[1:]:
            lines += ["open then, and not explained either:", *(f"    {call}" for call in self.blocked[1:])]
        left_out = max(0, len(self.order) - _SHOWN_MAX)
        lines.append("the longest order of calls before it (* touches the same things):")
        lines += [f"    ... {left_out} calls"] if left_out else []
        lines += [
            f"  {'*' if place in self.touching else ' '} {call}"
            for place, call in enumerate(self.order)
            if place >= left_out
        ]
        return "\n".join([*lines, "the state there:", *(f"    {line}" for line in self.state.splitlines())])


def check(model: Model[State], calls: Iterable[Call], *, bound: int) -> Result:
    """Search for an order that explains the answers. bound: of configurations to visit before giving up."""
    return _Search(model, calls, bound).run()


def assert_linearizable(model: Model[State], calls: Iterable[Call], *, bound: int) -> None:
    """Raise AssertionError, with the counterexample, unless the history is linearizable. Giving up is a failure."""
    result = check(model, calls, bound=bound)
    if not result.ok:
        raise AssertionError(str(result))


class _OutOfBound(Exception):
    """The bound of configurations was reached."""


class _Return(NamedTuple):
    """The return of a call, and what is open then; calls are places in the list of calls, or bits of them."""

    call: int
    open: tuple[int, ...]  # without the call itself
    observers: tuple[int, ...]  # open, the call itself too, and never changing anything
    arrived: tuple[int, ...]  # the observers that began since the return before


_Trail = tuple[Any, int] | None  # the order so far, its last call outside
_Seen = dict[tuple[Any, int], list[int]]  # (state, linearized of known outcome) -> linearized of unknown outcome
_Node = tuple[int, Any, int, _Trail]  # next return, state, linearized and open, the order so far


class _Search:
    """One search. Calls are known by their place in ``calls``, sets of them are bits."""

    def __init__(self, model: Model[Any], calls: Iterable[Call], bound: int) -> None:
        self._model = model
        self._bound = bound
        self._visited = 0
        # A call that only looks and whose answer nobody knows says nothing.
        self._calls = sorted(
            (call for call in calls if call.ended is not None or not model.observes(call.operation, UNKNOWN)),
            key=lambda call: call.began,
        )
        self._observers = frozenset(
            place for place, call in enumerate(self._calls) if model.observes(call.operation, call.answer)
        )
        self._optional = sum(1 << place for place, call in enumerate(self._calls) if call.ended is None)
        self._returns = _returns(self._calls, self._observers)
        self._twins = self._find_twins()
        self._seen: list[_Seen] = []
        self._chain_max = 0
        self._is_cut = False  # a chain would have been longer

    def run(self) -> Result:
        """Search, with short chains first: where the search went wrong, long ones only make it longer."""
        if not self._returns:
            return Result(Verdict.LINEARIZABLE, 0, ())
        for self._chain_max in _CHAINS_MAX:
            self._is_cut = False
            self._seen = [{} for _ in self._returns]
            result = self._search()
            if result.verdict is not Verdict.VIOLATION or not self._is_cut:
                break
        return result

    def _search(self) -> Result:
        """Search, depth first."""
        state = self._model.initial()
        linearized, trail = self._observe(self._returns[0].arrived, state, 0, None)
        furthest = self._advance(0, state, linearized, trail)
        stack: list[Iterator[_Node]] = [iter((furthest,))]
        try:
            while stack:
                following = next(stack[-1], None)
                if following is None:
                    stack.pop()
                    continue
                if following[0] == len(self._returns):
                    return Result(Verdict.LINEARIZABLE, self._visited, self._order(following[3]))
                if self._is_seen(self._seen[following[0]], *following[1:3]):
                    continue
                if following[0] > furthest[0]:
                    furthest = following
                stack.append(self._successors(following))
        except _OutOfBound:
            return self._failure(Verdict.GAVE_UP, furthest)
        return self._failure(Verdict.VIOLATION, furthest)

    # ------------------------------------------------------------------------------------ configurations

    def _step(self, state: Any, place: int) -> Sequence[Any]:
        call = self._calls[place]
        return self._model.step(state, call.operation, call.answer)

    def _is_seen(self, seen: _Seen, state: Any, linearized: int) -> bool:
        """Remember a configuration; True if it, or one as good, was there before."""
        used = linearized & self._optional
        ways = seen.setdefault((state, linearized ^ used), [])
        if any(way & used == way for way in ways):
            return True
        ways.append(used)
        self._visited += 1
        if self._visited > self._bound:
            raise _OutOfBound
        return False

    def _find_twins(self) -> dict[int, int]:
        """Return, for a call of unknown outcome, the one before it that asks the same: it may as well go first."""
        twins: dict[int, int] = {}
        latest: dict[Any, int] = {}
        for place, call in enumerate(self._calls):
            if call.ended is None:
                if call.operation in latest:
                    twins[place] = latest[call.operation]
                latest[call.operation] = place
        return twins

    def _observe(self, observers: Iterable[int], state: Any, linearized: int, trail: _Trail) -> tuple[int, _Trail]:
        """Linearize what can go now and changes nothing."""
        for place in observers:
            if not linearized >> place & 1:
                following = self._step(state, place)
                if len(following) == 1 and (following[0] is state or following[0] == state):
                    linearized |= 1 << place
                    trail = (trail, place)
        return linearized, trail

    def _advance(self, number: int, state: Any, linearized: int, trail: _Trail) -> _Node:
        """Go on, from a return that has its instant, to the next one that has none yet."""
        while linearized >> self._returns[number].call & 1:
            linearized ^= 1 << self._returns[number].call
            number += 1
            if number == len(self._returns):
                break
            linearized, trail = self._observe(self._returns[number].arrived, state, linearized, trail)
        return number, state, linearized, trail

    def _successors(self, node: _Node) -> Iterator[_Node]:
        """Yield the configurations after the return: without a chain, then with longer and longer ones."""
        number, state, linearized, trail = node
        here = self._returns[number]
        bit = 1 << here.call
        for following in self._step(state, here.call):
            yield self._settled(number, following, linearized | bit, (trail, here.call))
        related = _Related(self._model, self._calls, state, here, linearized)
        seen: _Seen = {}
        level = [(state, linearized, trail)]
        for _ in range(self._chain_max):
            if not level:
                break
            longer = []
            for before, used, order in level:
                for place, after in self._links(related.places, before, used):
                    now, so_far = self._observe(here.observers, after, used | 1 << place, (order, place))
                    if self._is_seen(seen, after, now):
                        continue
                    is_needed = related.needs(now & ~linearized)
                    if now & bit:  # it only looks: whatever else there is can come after it
                        if is_needed:
                            yield self._advance(number, after, now, so_far)
                        continue
                    longer.append((after, now, so_far))
                    for following in self._step(after, here.call) if is_needed else ():
                        yield self._settled(number, following, now | bit, (so_far, here.call))
            level = longer
        self._is_cut |= bool(level)

    def _links(self, places: Sequence[int], state: Any, linearized: int) -> Iterator[tuple[int, Any]]:
        """Yield (call, state after it) for each that may go now; of unknown outcome only what changes something."""
        for place in places:
            if not (linearized >> place & 1 or self._has_twin(place, linearized)):
                for after in self._step(state, place):
                    if not self._optional >> place & 1 or (after is not state and after != state):
                        yield place, after

    def _has_twin(self, place: int, linearized: int) -> bool:
        twin = self._twins.get(place)
        return twin is not None and not linearized >> twin & 1

    def _settled(self, number: int, state: Any, linearized: int, trail: _Trail) -> _Node:
        """Return the configuration after a call that may have changed something."""
        linearized, trail = self._observe(self._returns[number].observers, state, linearized, trail)
        return self._advance(number, state, linearized, trail)

    # ------------------------------------------------------------------------------------------- results

    def _order(self, trail: _Trail) -> tuple[Call, ...]:
        order = []
        while trail is not None:
            trail, place = trail
            order.append(self._calls[place])
        return tuple(reversed(order))

    def _failure(self, verdict: Verdict, furthest: _Node) -> Result:
        number, state, linearized, trail = furthest
        here = self._returns[number]
        call = self._calls[here.call]
        others = [place for place in here.open if not (linearized | self._optional) >> place & 1]
        order = self._order(trail)
        print_ = self._model.footprint(state, call.operation, call.answer, sought=False)
        touching = {
            place
            for place, other in enumerate(order)
            if _conflict(print_, self._model.footprint(state, other.operation, other.answer, sought=False))
        }
        return Result(
            verdict,
            self._visited,
            order,
            (call, *(self._calls[place] for place in others)),
            self._model.expected(state, call.operation),
            self._model.describe(state),
            frozenset(touching),
        )


class _Related:
    """The open calls that a chain before a return may have: those in conflict with it, directly or through others.

    Calls that are in no conflict with any of these, in this state, can be put off until after the return.
    """

    def __init__(self, model: Model[Any], calls: Sequence[Call], state: Any, here: _Return, linearized: int) -> None:
        self._conflicts = {}
        prints = {}
        waiting = [place for place in here.open if not linearized >> place & 1]
        if waiting:
            call = calls[here.call]
            prints[here.call] = model.footprint(state, call.operation, call.answer, sought=True)
        for place in waiting:
            call = calls[place]
            prints[place] = model.footprint(state, call.operation, call.answer, sought=False)
        todo = [here.call] if waiting else []
        self._mask = 0
        while todo:
            one = todo.pop()
            conflicts = 0
            for other, print_ in prints.items():
                if other != one and _conflict(prints[one], print_):
                    conflicts |= 1 << other
                    if other != here.call and not self._mask >> other & 1:
                        self._mask |= 1 << other
                        todo.append(other)
            self._conflicts[one] = conflicts
        self._call = here.call
        self.places = [place for place in waiting if self._mask >> place & 1]

    def needs(self, chain: int) -> bool:
        """Say whether all calls of a chain are in conflict with the return, directly or through each other."""
        rest = chain & self._mask
        todo = self._conflicts[self._call] & rest
        while todo:
            rest &= ~todo
            found = 0
            for place in _bits(todo):
                found |= self._conflicts[place]
            todo = found & rest
        return not rest


def _bits(mask: int) -> Iterator[int]:
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def _conflict(one: Footprint | None, other: Footprint | None) -> bool:
    if one is None or other is None:
        return True
    return not (one.writes.isdisjoint(other.reads) and one.reads.isdisjoint(other.writes))


def _returns(calls: Sequence[Call], observers: Collection[int]) -> list[_Return]:
    """Return the returns in the order of time. What began at the very time of a return began before it."""
    ended = sorted((call.ended, place) for place, call in enumerate(calls) if call.ended is not None)
    found = []
    began = 0
    open_: dict[int, None] = {}
    for time, place in ended:
        arrived = []
        while began < len(calls) and calls[began].began <= time:
            open_[began] = None
            if began in observers:
                arrived.append(began)
            began += 1
        looking = tuple(one for one in open_ if one in observers)
        del open_[place]
        found.append(_Return(place, tuple(open_), looking, tuple(arrived)))
    return found
