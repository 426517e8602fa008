"""What clients asked and were told, and whether one order of it all explains every answer (linearizability).

The directory is one object: names, the inodes they lead to, and its change counter. Each process (a client's lane, a
client's reads) is a queue: its calls take effect in the order they were made, each between its beginning and its end.

Answers carry the directory's change counter, so which change comes next is never a choice, and neither is when to
place a call that changes nothing: the first moment that explains its answer leaves all others as free as any. So one
walk decides, where the general problem needs a search (Wing and Gong, 1993).

A call that surely never happened is left out: if it did happen, what others saw has no explanation.

check_generally() asks the checker of curvefs/test/linearizability too, which knows nothing of counters and lanes; on
histories with many calls at a time it gives up.
"""

from dataclasses import dataclass, field
from itertools import chain

from curvefs.proto import common_pb2
from curvefs.src.common.ids import ROOT_INODE
from curvefs.test.linearizability import history as linearizability
from curvefs.test.linearizability import operations
from curvefs.test.linearizability.checker import Verdict, check
from curvefs.test.linearizability.namespace import Namespace
from curvefs.test.linearizability.tree import empty
from curvefs.test.sim.checkers import Violation

_VISITS_MAX = 1000  # configurations


@dataclass(slots=True)
class Call:
    """One call. began, ended: places in the order of all beginnings and ends.

    change: the directory's change counter afterwards; 0 when the answer does not say.
    """

    process: int
    kind: str
    args: tuple
    began: int
    ended: int = 0
    status: int = 0
    inode_id: int = 0
    change: int = 0


@dataclass(slots=True)
class History:
    """See the module."""

    queues: dict[int, list[Call]] = field(default_factory=dict)  # of each process, in the order they take effect
    _clock: int = 0

    def begin(self, process, kind, args):
        """A call begins."""
        self._clock += 1
        call = Call(process, kind, args, self._clock)
        self.queues.setdefault(process, []).append(call)
        return call

    def end(self, call, status, inode_id, change):
        """It was answered."""
        self._clock += 1
        call.ended, call.status, call.inode_id, call.change = self._clock, status, inode_id, change

    def never_happened(self, call):
        """It was refused for certain."""
        self.queues[call.process].remove(call)

    def check(self):
        """Raise Violation unless the answers have an explanation."""
        queues = [queue[::-1] for queue in self.queues.values() if queue]
        directory, change = {}, 1
        while queues:
            # Nothing takes effect before a call that ended before it began.
            bound = min([queue[-1].ended for queue in queues])
            fit = [queue for queue in queues if queue[-1].began < bound and _explains(queue[-1], directory, change)]
            if not fit:
                stuck = "\n  ".join(str(queue[-1]) for queue in queues)
                raise Violation(
                    "linearizability",
                    f"no order explains the answers: the directory is {directory} at change {change}, "
                    f"and of what comes next nothing can be:\n  {stuck}",
                )
            # What changes nothing comes first: afterwards its answer may not be right any more.
            queue = min(fit, key=_changes)
            call = queue.pop()
            if not queue:
                queues.remove(queue)
            if _changes([call]):
                change = call.change
                _change(call, directory)


def _changes(queue):
    return queue[-1].kind != "lookup" and queue[-1].change > 0


def _explains(call, directory, change):
    """Say whether the answer is right if the call takes effect now."""
    there = directory.get(call.args[0])
    match call.kind:
        case "lookup":
            return call.inode_id == (there or 0) and call.change in (0, change)
        case "create" if there is not None:
            wanted = common_pb2.ALREADY_EXISTS if call.args[1] else common_pb2.OK
            return call.status == wanted and call.inode_id == there and not call.change
        case "create":
            return (
                call.status == common_pb2.OK and call.change == change + 1 and call.inode_id not in directory.values()
            )
        case "unlink" | "rename" if there is None:
            return call.status == common_pb2.NOT_FOUND
        case "rename" if call.args[0] == call.args[1]:
            return call.status == common_pb2.OK and not call.change
        case _:
            return call.status == common_pb2.OK and call.change == change + 1 and call.inode_id == there


def _change(call, directory):
    name = call.args[0]
    match call.kind:
        case "create":
            directory[name] = call.inode_id
        case "unlink":
            del directory[name]
        case "rename":
            directory[call.args[1]] = directory.pop(name)


# ------------------------------------------------------------------------------------ without the counter

_SHOWN = {common_pb2.NOT_FOUND: "ENOENT", common_pb2.ALREADY_EXISTS: "EEXIST"}


def check_generally(history):
    """Search as if answers had no counter and calls no lanes; says whether the search came to an end."""
    calls = [_general(call, number) for number, call in enumerate(chain(*history.queues.values()))]
    result = check(Namespace(empty(ROOT_INODE), any_error=True), calls, bound=_VISITS_MAX)
    if result.verdict is Verdict.VIOLATION:
        raise Violation("linearizability", str(result))
    return result.ok


def _general(call, number):
    name = call.args[0]
    match call.kind:
        case "lookup":
            operation = operations.Lookup(ROOT_INODE, name)
            answer = ("ok", call.inode_id) if call.inode_id else "ENOENT"
        case "create":
            operation = operations.Create(ROOT_INODE, name, exclusive=call.args[1])
            answer = ("ok", call.inode_id)
        case "unlink":
            operation, answer = operations.Unlink(ROOT_INODE, name), ("ok",)
        case _:
            operation = operations.Rename(ROOT_INODE, name, ROOT_INODE, call.args[1])
            answer = ("ok",)
    if call.status != common_pb2.OK:
        answer = _SHOWN.get(call.status, common_pb2.StatusCode.Name(call.status))
    return linearizability.Call(call.process, number, operation, call.began, call.ended, answer)
