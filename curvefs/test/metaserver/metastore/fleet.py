"""Several groups' state machines, and a coordinator without a network: its commands are applied one after the other.

Nothing else happens meanwhile unless a test does it, so no lock is met by chance. With ``twice`` each command is
applied a second time, which must answer the same and change nothing that counts.
"""

import stat

from curvefs.proto import common_pb2, state_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.proto import transaction_pb2 as t
from curvefs.src.common.ids import ROOT_INODE, make_id, partition_of
from curvefs.src.metaserver.storage import keys

from .lab import FS, SESSION, Lab

DIRECTORY = pb.DIRECTORY
# What may differ between a transaction that never was and one that was aborted: what remembers its end.
MEMORY = (keys.FINISHED, keys.FINISHED_AT)
SEED = b"h" * 16
TO_NEW_PARENT = ("link", "restore")  # coordinated where the new name is


def remove_name(parent, name, inode_id, *, is_directory=False):
    return t.Part(remove_name=t.RemoveName(parent=parent, name=name, inode_id=inode_id, is_directory=is_directory))


def put_name(parent, name, inode_id, type_=pb.REGULAR, rule=t.PutName.ABSENT, expected=None, *, is_new_parent=False):
    part = t.PutName(parent=parent, name=name, inode_id=inode_id, type=type_, rule=rule, is_new_parent=is_new_parent)
    if expected is not None:
        part.expected = expected
    return t.Part(put_name=part)


def add_link(inode_id):
    return t.Part(add_link=t.AddLink(inode_id=inode_id))


def drop_link(inode_id, *, is_directory=False, session_id=b"", held=False):
    part = t.DropLink(inode_id=inode_id, is_directory=is_directory, session_id=session_id, held=held)
    return t.Part(drop_link=part)


def move_inode(inode_id, new_parent, *, is_directory=False, displaced=False):
    part = t.MoveInode(inode_id=inode_id, new_parent=new_parent, is_directory=is_directory, displaced=displaced)
    return t.Part(move_inode=part)


def new_directory(partition_id, parent, mode=stat.S_IFDIR | 0o755, uid=0, gid=0):
    return t.Part(new_directory=t.NewDirectory(partition_id=partition_id, parent=parent, mode=mode, uid=uid, gid=gid))


def move_lock():
    return t.Part(move_lock=t.MoveLock())


def id_of(number, group_id=9, term=1):
    return t.TransactionId(group_id=group_id, term=term, number=number)


def age_of(number, group_id=9):
    return t.Age(time_ns=number, first=id_of(number, group_id))


def prepare(lab, number, *parts, age=None, round_=0):
    """Prepare parts under the transaction of a number."""
    command = state_pb2.PrepareCommand(id=id_of(number), age=age or age_of(number), fs_id=FS, parts=parts, round=round_)
    return lab.entry(prepare=command)


def finish(lab, number, *, commit):
    return lab.entry(finish=state_pb2.FinishCommand(id=id_of(number), commit=commit))


def decide(lab, number, *parts, session=SESSION, session_number=None, acknowledged=0, participants=(), term=None):
    """Decide in the term of the lab, or of another."""
    command = state_pb2.DecideCommand(
        id=id_of(number, lab.group_id, lab.term if term is None else term),
        age=age_of(number, lab.group_id),
        fs_id=FS,
        session_id=session,
        number=number if session_number is None else session_number,
        acknowledged=acknowledged,
        parts=parts,
        participants=participants,
    )
    return lab.entry(decide=command)


def forget(lab, *numbers):
    return lab.entry(forget=state_pb2.ForgetCommand(ids=[id_of(one, lab.group_id, lab.term) for one in numbers]))


def code_of(applied):
    """Return the name of the code with which a command was refused, or OK."""
    return common_pb2.StatusCode.Name(applied.failure.code if applied.failure is not None else common_pb2.OK)


def pairs_of(lab, *, without=MEMORY):
    return {key: value for key, value in lab.state.pairs.items() if key[:1] not in without}


class No(Exception):
    """The operation fails with this status."""

    def __init__(self, code):
        super().__init__(common_pb2.StatusCode.Name(code))
        self.code = code


class Fleet:
    """Partition n is in the group ``layout[n]``."""

    def __init__(self, layout=(1, 2, 3), *, twice=False, lab=Lab):
        self.layout = layout
        self.twice = twice
        self.groups = {
            group_id: lab(group_id=group_id, partitions=[n for n, one in enumerate(layout) if one == group_id])
            for group_id in sorted(set(layout))
        }
        self.numbers = 0  # of transactions, and of the session's operations across partitions

    @classmethod
    def around(cls, lab):
        """Return a fleet of one group that is there already."""
        fleet = cls(())
        fleet.layout, fleet.groups = (lab.group_id,), {lab.group_id: lab}
        return fleet

    def group_of(self, inode_id):
        return self.layout[partition_of(inode_id)]

    def lab(self, inode_id):
        return self.groups[self.group_of(inode_id)]

    def inode(self, inode_id):
        return self.lab(inode_id).inode(inode_id)

    def lookup(self, parent, name):
        return self.lab(parent).lookup(parent, name)

    def there(self, parent, name):
        """Return (inode, type) of a name as the state has it, whatever is locked; zeros when it is absent."""
        key = keys.dentry(FS, parent, keys.name_hash(SEED, name), name)
        value = self.lab(parent).state.get(key)
        return (0, 0) if value is None else keys.unpack_dentry(value)

    def create(self, parent, name, mode=stat.S_IFREG | 0o644):
        return self.lab(parent).create(parent, name, mode)

    def mkdir(self, parent, name, partition_id=None):
        """Make a directory, perhaps in another partition."""
        if partition_id is None:
            return self.lab(parent).mkdir(parent, name)
        request = pb.Create(
            parent=parent, name=name, mode=stat.S_IFDIR | 0o755, exclusive=True, partition_id=partition_id
        )
        return self.ok(create=request).inode.inode_id

    def settled(self):
        """Assert that no transaction has left anything but the memory of its end, and stored answers."""
        for lab in self.groups.values():
            assert not [key for key in lab.state.pairs if key[:1] in (keys.LOCK, keys.PREPARED, keys.DECIDED)]

    # --------------------------------------------------------------------------------------- operations

    def do(self, operation, **how):
        """Try the lane, then a transaction; return the result."""
        request = getattr(operation, operation.WhichOneof("operation"))
        home = request.new_parent if operation.WhichOneof("operation") in TO_NEW_PARENT else request.parent
        if not (operation.HasField("create") and request.HasField("partition_id")):
            lab = self.lab(home)
            lab.sequence += 1
            batch = lab.batch(lab.sequence, [operation], acknowledged=lab.sequence - 1)
            result = batch.results.results[0]
            if result.status != common_pb2.CROSS_PARTITION:
                return result
        return self.transact(operation, **how)

    def ok(self, **operation):
        result = self.do(pb.Operation(**operation))
        assert result.status == common_pb2.OK, common_pb2.StatusCode.Name(result.status)
        return result

    def refused(self, code, **operation):
        """Do an operation that must fail with a code and change nothing."""
        skipped = (*MEMORY, b"r", b"S", b"P")  # a number that was reserved is not given out again
        before = [pairs_of(lab, without=skipped) for lab in self.groups.values()]
        result = self.do(pb.Operation(**operation))
        assert common_pb2.StatusCode.Name(result.status) == common_pb2.StatusCode.Name(code)
        assert [pairs_of(lab, without=skipped) for lab in self.groups.values()] == before

    def transact(self, operation, *, commit=True):
        """Carry an operation out across partitions; without ``commit`` only up to where it is decided."""
        self.numbers += 1
        one = Transaction(self, operation, self.numbers)
        try:
            one.prepare_all()
            if commit:
                return one.commit()
        except No as no:
            one.abort()
            return pb.OperationResult(status=no.code)
        except Met:
            one.abort()
            return pb.OperationResult(status=common_pb2.LOCKED)
        except NothingToDo:
            pass
        one.abort()
        return pb.OperationResult()


class Met(Exception):
    """It meets a lock of another transaction."""


class NothingToDo(Exception):
    """Two names of one inode."""


class Transaction:
    """One of them: its parts by place, and what has been prepared."""

    def __init__(self, fleet, operation, number):
        self.fleet = fleet
        self.operation = operation
        self.kind = operation.WhichOneof("operation")
        self.request = getattr(operation, self.kind)
        home = self.request.new_parent if self.kind in TO_NEW_PARENT else self.request.parent
        self.home = fleet.group_of(home)
        self.number = number
        self.id = id_of(number, self.home, fleet.groups[self.home].term)
        self.own = []
        self.participants = set()
        self.result = pb.OperationResult()
        self.round = 0

    def prepare_all(self):
        getattr(self, f"_{self.kind}")()

    def prepare(self, group_id, *parts):
        """Prepare in a group; return the facts."""
        self.round += 1
        command = state_pb2.PrepareCommand(
            id=self.id, age=age_of(self.number, self.home), fs_id=FS, parts=parts, round=self.round
        )
        self.participants.add(group_id)
        lab = self.fleet.groups[group_id]
        applied = lab.entry(prepare=command)
        if self.fleet.twice:
            self._again(lab, applied, prepare=command)
        if applied.conflict is not None:
            raise Met(applied.conflict)
        if applied.failure is not None:
            raise No(applied.failure.code)
        return applied.facts

    def place(self, inode_id, part):
        """Do a part with the decision if it is at home, else prepare it."""
        if self.fleet.group_of(inode_id) == self.home:
            self.own.append(part)
        else:
            self.prepare(self.fleet.group_of(inode_id), part)

    def commit(self):
        """Decide and have it finished; return the result."""
        result = self.decide()
        for group_id in sorted(self.participants):
            self.finish(group_id, commit=True)
        self.forget()
        return result

    def decide(self):
        home = self.fleet.groups[self.home]
        command = state_pb2.DecideCommand(
            id=self.id,
            age=age_of(self.number, self.home),
            fs_id=FS,
            session_id=SESSION,
            number=self.number,
            acknowledged=self.number - 1,
            parts=self.own,
            participants=sorted(self.participants),
            result=self.result,
        )
        applied = home.entry(decide=command)
        if self.fleet.twice:
            self._again(home, applied, decide=command)
        if applied.conflict is not None:
            raise Met(applied.conflict)
        if applied.failure is not None:
            raise No(applied.failure.code)
        return applied.decided.result

    def forget(self):
        ids = state_pb2.ForgetCommand(ids=[self.id])
        for _ in range(1 + self.fleet.twice):
            self.fleet.groups[self.home].entry(forget=ids)

    def abort(self):
        for group_id in sorted(self.participants):
            self.finish(group_id, commit=False)

    def finish(self, group_id, *, commit):
        lab = self.fleet.groups[group_id]
        command = state_pb2.FinishCommand(id=self.id, commit=commit)
        applied = lab.entry(finish=command)
        assert applied.failure is None, applied.failure
        if self.fleet.twice:
            self._again(lab, applied, finish=command)

    def _again(self, lab, applied, **command):
        before = pairs_of(lab)
        again = lab.entry(**command)
        assert again == applied
        assert pairs_of(lab) == before

    # ------------------------------------------------------------------------- parts of each operation

    def _create(self):
        request = self.request
        group_id = self.fleet.layout[request.partition_id]
        (fact,) = self.prepare(
            group_id, new_directory(request.partition_id, request.parent, request.mode, *self._owner())
        )
        self.result.inode.CopyFrom(fact.inode)
        self.own.append(put_name(request.parent, request.name, fact.inode_id, DIRECTORY))

    def _owner(self):
        return self.operation.credential.uid, self.operation.credential.gid

    def _unlink(self):
        self._remove(is_directory=False)

    def _rmdir(self):
        self._remove(is_directory=True)

    def _remove(self, *, is_directory):
        request = self.request
        inode_id, type_ = self._named(request.parent, request.name)
        if (type_ == DIRECTORY) != is_directory:
            raise No(common_pb2.NOT_A_DIRECTORY if is_directory else common_pb2.IS_A_DIRECTORY)
        self.own.append(remove_name(request.parent, request.name, inode_id, is_directory=is_directory))
        self.place(inode_id, self._drop(inode_id, is_directory=is_directory))

    def _link(self):
        request = self.request
        if self.fleet.group_of(request.inode_id) == self.home:
            self.own.append(add_link(request.inode_id))
            inode = self.fleet.inode(request.inode_id)
            if inode is None:
                raise No(common_pb2.NOT_FOUND)
            type_ = stat.S_IFMT(inode.mode) >> 12
        else:
            (fact,) = self.prepare(self.fleet.group_of(request.inode_id), add_link(request.inode_id))
            type_ = fact.type
        self.own.append(put_name(request.new_parent, request.new_name, request.inode_id, type_, is_new_parent=True))

    def _restore(self):
        request = self.request
        part = t.Part(restore_inode=t.RestoreInode(inode_id=request.inode_id, new_parent=request.new_parent))
        if self.fleet.group_of(request.inode_id) == self.home:
            self.own.append(part)
            type_ = stat.S_IFMT(self.fleet.inode(request.inode_id).mode) >> 12
        else:
            (fact,) = self.prepare(self.fleet.group_of(request.inode_id), part)
            type_ = fact.type
        self.own.append(put_name(request.new_parent, request.new_name, request.inode_id, type_, is_new_parent=True))

    def _rename(self):
        request = self.request
        moved, type_ = self._named(request.parent, request.name)
        is_directory = type_ == DIRECTORY
        there, there_type = self.fleet.there(request.new_parent, request.new_name)
        if request.exchange and not there:
            raise No(common_pb2.NOT_FOUND)
        if request.no_replace and there:
            raise No(common_pb2.ALREADY_EXISTS)
        both = request.exchange and there_type == DIRECTORY
        if request.parent != request.new_parent and (is_directory or both):
            self.prepare(self.fleet.layout[0], move_lock())
            if is_directory:
                self._walk(request.new_parent, moved)
            if both:
                self._walk(request.parent, there)
        if request.exchange:
            if there == moved:
                raise NothingToDo
            rule = t.PutName.PRESENT
        else:
            rule = t.PutName.ABSENT if request.no_replace else t.PutName.ANY
            self.own.append(remove_name(request.parent, request.name, moved, is_directory=is_directory))
        self.place(moved, move_inode(moved, request.new_parent, is_directory=is_directory))
        if request.exchange:
            self.own.append(put_name(request.parent, request.name, there, there_type, rule, expected=moved))
        self.place(
            request.new_parent,
            put_name(request.new_parent, request.new_name, moved, type_, rule, expected=there, is_new_parent=True),
        )
        if there == moved:
            raise NothingToDo
        if request.exchange:
            self.place(there, move_inode(there, request.parent, is_directory=there_type == DIRECTORY, displaced=True))
        elif there:
            self.place(there, self._drop(there, is_directory=there_type == DIRECTORY))  # a second round

    def _drop(self, inode_id, *, is_directory):
        request = self.request
        part = drop_link(inode_id, is_directory=is_directory, session_id=SESSION, held=request.held_inode == inode_id)
        if self.kind == "rename":
            part.drop_link.parent, part.drop_link.name = request.new_parent, request.new_name
            part.drop_link.replaced = True
        else:
            part.drop_link.parent, part.drop_link.name = request.parent, request.name
        return part

    def _named(self, parent, name):
        folder = self.fleet.inode(parent)
        if folder is None or not folder.nlink:
            raise No(common_pb2.NOT_FOUND)
        if not stat.S_ISDIR(folder.mode):
            raise No(common_pb2.NOT_A_DIRECTORY)
        inode_id, type_ = self.fleet.there(parent, name)
        if not inode_id:
            raise No(common_pb2.NOT_FOUND)
        return inode_id, type_

    def _walk(self, directory, forbidden):
        while True:
            if directory == forbidden:
                raise No(common_pb2.INVALID_ARGUMENT)
            if directory == ROOT_INODE:
                return
            inode = self.fleet.inode(directory)
            if inode is None or not inode.nlink:
                raise No(common_pb2.NOT_FOUND)
            if not stat.S_ISDIR(inode.mode):
                raise No(common_pb2.NOT_A_DIRECTORY)
            directory = inode.parent


def first_of(partition_id):
    """Return the number of the first inode that is made in a partition."""
    return make_id(partition_id, 2)
