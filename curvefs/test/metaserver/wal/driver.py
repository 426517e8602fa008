"""Drives SegmentFiles and a model side by side, through trims, full disks, stops and crashes."""

import itertools

from hypothesis import strategies as st

from curvefs.src.common.errors import NoSpace
from curvefs.src.metaserver.wal import recovery
from curvefs.src.metaserver.wal.format import Record, RecordType
from curvefs.src.metaserver.wal.segments import LogSettings, SegmentFiles
from curvefs.test.metaserver.wal.model import GroupModel, Model, check_outline, replayed
from curvefs.test.sim.disk import Crashed

GROUPS = (1, 2, 3)
KINDS = ("entry", "entry", "entry", "replace", "follow", "hard state", "snapshot", "make again")
SMALL = st.integers(0, 9)
ACTIONS = st.tuples(st.sampled_from(GROUPS), st.sampled_from(KINDS), SMALL, st.integers(0, 700))
APPEND = st.tuples(st.just("append"), st.lists(ACTIONS, min_size=1, max_size=6))
TRIM = st.tuples(st.just("trim"), SMALL)
FORGET = st.tuples(st.just("forget"), st.sampled_from(GROUPS))
FULL = st.tuples(st.just("full"), st.integers(0, 900))
STOP = st.tuples(st.just("stop"), st.booleans())
CRASH_IN = st.tuples(st.just("crash in"), st.tuples(st.integers(1, 12), st.booleans()))
SEGMENT_SIZES = st.sampled_from((1, 300, 1500, 6000))
WEIGHTS = {"append": 60, "trim": 20, "forget": 1, "full": 3, "stop": 3, "crash in": 5}


def fatal(reason):
    raise AssertionError(reason)


def steps_of(rng, count):
    """Return random steps, more evenly than hypothesis draws them."""
    hows = {
        "append": lambda: [
            (rng.choice(GROUPS), rng.choice(KINDS[: rng.choice((3, 6, 8))]), rng.randrange(10), rng.randrange(700))
            for _ in range(rng.randint(1, 5))
        ],
        "trim": lambda: rng.randrange(4),
        "forget": lambda: rng.choice(GROUPS),
        "full": lambda: rng.randrange(900),
        "stop": lambda: rng.random() < 0.5,
        "crash in": lambda: (rng.randint(1, 12), rng.random() < 0.7),
    }
    return [(what, hows[what]()) for what in rng.choices(list(WEIGHTS), list(WEIGHTS.values()), k=count)]


class Driver:
    """One log. ``committed`` and ``trimmed``: of each group, up to which index."""

    def __init__(self, disk, segment_size):
        self.disk = disk
        self.settings = LogSettings(segment_size, reserve_bytes=0)
        self.salts = itertools.count(1000)
        self.model = Model()
        self.committed, self.trimmed = {}, {}
        self.gone = set()  # groups that were removed: older segments may hold them still
        self.before, self.written = self.model, []  # the append under way
        self.power_fails = True
        self.terms = itertools.count(1)
        self.start(recovery.recover(disk))

    def start(self, outline):
        self.files = SegmentFiles(self.disk, outline, self.settings, salt=lambda: next(self.salts), fatal=fatal)

    def run(self, steps):
        for step in steps:
            try:
                self.step(*step)
            except Crashed:
                self.restart(self.power_fails)
        self.disk.crash_in = None
        self.stop(power_fails=True)
        self.files.append([])
        self.trimmed = {id_: one.last_index for id_, one in self.model.groups.items()}
        self.files.trim(self.trimmed)
        assert self.files.segment_count == 1, "nothing keeps what nobody needs"
        self.stop(power_fails=True)

    def step(self, what, how):
        match what:
            case "append":
                self.append(how)
            case "trim":
                self.trim(how)
            case "forget":
                self.model.groups.pop(how, None)
                self.gone.add(how)
                self.files.forget(how)
            case "full":
                self.disk.capacity_bytes = self.disk.capacity_bytes - self.disk.free_bytes() + how
                try:
                    self.append([(1, "entry", 0, 500), (2, "entry", 0, 0)])
                finally:
                    self.disk.capacity_bytes = 1 << 40
            case "stop":
                self.stop(power_fails=how)
            case "crash in":
                self.disk.crash_in, self.power_fails = how

    # ------------------------------------------------------------------------------------------- appending

    def append(self, actions):
        """Append what actions say, in one write."""
        wanted, records = self.model.copy(), []
        committed = dict(self.committed)
        for action in actions:
            for record in self.records_of(wanted, committed, *action):
                wanted.apply(record)
                records.append(record)
        self.before, self.written = self.model, records
        try:
            self.files.append(records)
        except NoSpace:
            pass
        else:
            self.model, self.committed = wanted, committed
            self.gone -= wanted.groups.keys()
            for record in records:
                if record.type is RecordType.BEGIN and record.index == 0:
                    self.trimmed.pop(record.group_id, None)
        self.written = []

    def records_of(self, model, committed, id_, kind, number, size):
        """Return records that may come next, and raise ``committed``."""
        term = next(self.terms)
        group = model.groups.get(id_)
        if group is None or kind == "make again":
            committed[id_] = 0
            return [Record(RecordType.BEGIN, id_, 0, 0)]
        done = max(committed[id_], group.begin[0])
        first = group.last_index + 1
        if kind in {"replace", "follow"}:
            first = max(done + 1, first - number)
        payload = bytes([number]) * size
        new = [Record(RecordType.ENTRY, id_, term, first + n, payload) for n in range(1 + number % 3)]
        match kind:
            case "entry" | "replace":
                return new
            case "follow":
                # As a follower that catches up: what comes with the entries says that they are committed.
                committed[id_] = new[-1].index
                return [self.hard_state(id_, term, committed), *new]
            case "hard state":
                committed[id_] = min(group.last_index, done + number)
                return [self.hard_state(id_, term, committed)]
            case "snapshot":
                committed[id_] = group.last_index + number + 1
                return [Record(RecordType.BEGIN, id_, term, committed[id_])]

    def hard_state(self, id_, term, committed):
        return Record(RecordType.HARD_STATE, id_, term, 0, b"%d" % committed[id_])

    def trim(self, kept):
        """Trim up to ``kept`` entries before what is committed."""
        for id_ in self.model.groups:
            self.trimmed[id_] = max(self.trimmed.get(id_, 0), self.committed[id_] - kept)
        self.files.trim(self.trimmed)
        assert self.files.segment_count >= 1

    # -------------------------------------------------------------------------------------------- stopping

    def stop(self, *, power_fails):
        self.files.close()
        self.restart(power_fails)

    def restart(self, power_fails):
        """Recover, and check that what is found is what was durable, and a prefix of what was being written."""
        if power_fails:
            self.disk.crash()
        else:
            self.disk.kill()
        outline = recovery.recover(self.disk)
        assert self.disk.unsynced_bytes() == 0, "what is found is relied upon"
        found = replayed(outline)
        check_outline(outline, found)
        self.model = self.accept(found)
        self.written = []
        for id_ in outline.groups.keys() - self.model.groups.keys():
            outline.forget(id_)
            self.gone.add(id_)
        for id_, one in self.model.groups.items():
            said = int(one.hard_state.payload) if one.hard_state else 0
            self.committed[id_] = max(min(said, one.last_index), one.begin[0])
            self.trimmed[id_] = min(self.trimmed.get(id_, 0), self.committed[id_])  # it may have been made again
        self.gone -= self.model.groups.keys()
        self.start(outline)

    def accept(self, found):
        """Return the model of before with the prefix of records that was found."""
        tried = self.before.copy() if self.written else self.model.copy()
        for record in [None, *steps_on_disk(tried, self.written)]:
            if record is not None:
                tried.apply(record)
            if self.is_found(tried, found):
                return Model((id_, found.groups[id_]) for id_ in tried.groups)
        written = [(one.group_id, one.type.name, one.term, one.index) for one in self.written]
        raise AssertionError(f"found {found}, not {self.model} and some of {written}; trimmed {self.trimmed}")

    def is_found(self, tried, found):
        if not tried.groups.keys() <= found.groups.keys() or found.groups.keys() - tried.groups.keys() - self.gone:
            return False
        return all(
            self.is_same(group, found.groups[id_], self.trimmed.get(id_, 0)) for id_, group in tried.groups.items()
        )

    def is_same(self, group, found, trimmed):
        """Trimmed entries may be gone."""
        if not group.begin[0] <= found.begin[0] <= max(group.begin[0], min(trimmed, group.last_index)):
            return False
        return group.from_index(found.begin[0]) == found


def steps_on_disk(model, records):
    """Return the steps in which records reach a disk that may stop after any of them.

    Before entries are replaced they are cut off, and before a hard state says anything of what replaces them.
    """
    steps: list[Record] = []
    model = model.copy()
    for record in records:
        group = model.groups.get(record.group_id, GroupModel())
        if record.type is RecordType.ENTRY and record.index <= group.last_index:
            place = len(steps)
            for there in reversed([n for n, one in enumerate(steps) if one.group_id == record.group_id]):
                if steps[there].type is not RecordType.HARD_STATE:
                    break
                place = there
            cut = Record(RecordType.TAIL, record.group_id, group.term_at(record.index - 1), record.index - 1)
            steps.insert(place, cut)
        steps.append(record)
        model.apply(record)
    return steps
