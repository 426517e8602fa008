"""What a log must hold: written down record by record, without segments or bytes."""

from dataclasses import dataclass, field

from curvefs.src.metaserver.wal import recovery
from curvefs.src.metaserver.wal.format import Record, RecordType


@dataclass
class GroupModel:
    """begin: the index and term that the log begins behind. entries: those after it."""

    begin: tuple[int, int] = (0, 0)
    entries: list[Record] = field(default_factory=list)
    hard_state: Record | None = None

    @property
    def last_index(self):
        return self.begin[0] + len(self.entries)

    def term_at(self, index):
        return self.begin[1] if index == self.begin[0] else self.entries[index - self.begin[0] - 1].term

    def apply(self, record):
        match record.type:
            case RecordType.ENTRY:
                del self.entries[record.index - self.begin[0] - 1 :]
                self.entries.append(record)
            case RecordType.HARD_STATE:
                self.hard_state = record
            case RecordType.TAIL:
                del self.entries[record.index - self.begin[0] :]
            case RecordType.BEGIN:
                self.begin, self.entries = (record.index, record.term), []
                if record.index == 0:
                    self.hard_state = None

    def from_index(self, index):
        """Return the same log, beginning behind ``index``."""
        return GroupModel((index, self.term_at(index)), self.entries[index - self.begin[0] :], self.hard_state)


class Model:
    """All groups of a log."""

    def __init__(self, groups=()):
        self.groups = dict(groups)

    def copy(self):
        return Model(
            (id_, GroupModel(one.begin, list(one.entries), one.hard_state)) for id_, one in self.groups.items()
        )

    def __repr__(self):
        return str(
            {
                id_: (one.begin, [(entry.index, entry.term) for entry in one.entries], one.hard_state)
                for id_, one in self.groups.items()
            }
        )

    def apply(self, record):
        self.groups.setdefault(record.group_id, GroupModel()).apply(record)


def replayed(outline):
    """Return the model that replay() of an outline leads to; checks what replay() and entries() promise."""
    model = Model()
    for record in recovery.replay(outline):
        if record.type is RecordType.ENTRY:
            assert record.index == model.groups[record.group_id].last_index + 1, "each entry once, in order"
        elif record.type is RecordType.BEGIN:
            assert record.group_id not in model.groups, "a group begins once"
            model.groups[record.group_id] = GroupModel((record.index, record.term))
            continue
        else:
            assert record.type is RecordType.HARD_STATE
        model.groups[record.group_id].apply(record)
    for id_, group in model.groups.items():
        assert [one for one in recovery.entries(outline, {id_}) if one.group_id == id_] == group.entries
    return model


def check_outline(outline, model):
    """The outline says of each group what replay() said."""
    assert outline.groups.keys() == model.groups.keys()
    for id_, said in outline.groups.items():
        group = model.groups[id_]
        assert (said.begin_index, said.begin_term) == group.begin
        assert (said.last_index, said.last_term) == (group.last_index, group.term_at(group.last_index))
        assert said.first_index == (group.entries[0].index if group.entries else 0)
        assert said.hard_state == group.hard_state
