"""Groups without a network, transactions over them by the real plan, and quotas' owners at work beside.

Everything a quota's work asks of a group is one step; between steps others go on. stop() drops it where it is, as when
a leader dies, and it is begun again by what the state says.
"""

import asyncio
import stat
from collections import Counter, defaultdict

from curvefs.proto import common_pb2, state_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.proto import transaction_pb2 as t
from curvefs.src.common.errors import CurveFSError, FilesystemError
from curvefs.src.common.ids import partition_of
from curvefs.src.common.status import code_of, error_of
from curvefs.src.metaserver.metastore import quota_owner, quotas, reads
from curvefs.src.metaserver.metastore.scope import Refusal, Scope
from curvefs.src.metaserver.quotas.counting import Counting
from curvefs.src.metaserver.quotas.lending import Lending
from curvefs.src.metaserver.storage import keys
from curvefs.src.metaserver.transactions.plan import NothingToDo, home_of, move_lock, plan
from curvefs.test.metaserver.metastore.fleet import Fleet, forget, id_of
from curvefs.test.metaserver.metastore.lab import FS, SESSION

PATIENCE = 3000  # turns of the event loop that an answer may take


class Stuck(Exception):
    """Something under way elsewhere has to go on first."""


class FleetPort:
    """Port (quotas/port.py) of one owner's group."""

    def __init__(self, fleet, group_id):
        self.fleet = fleet
        self.group = fleet.groups[group_id]

    async def own(self, entry):
        await asyncio.sleep(0)
        return applied(self.group.log(entry))

    async def view(self, look):
        await asyncio.sleep(0)
        return look(self.group.state)

    async def partitions(self, *, fresh=False):
        return list(range(len(self.fleet.layout)))

    async def share(self, partition_id, quota_id):
        read = pb.Read(get_share=pb.GetShare(partition_id=partition_id, quota_id=quota_id))
        return (await self.read(read, partition_id)).share

    async def set_share(self, partition_id, quota_id, share):
        await asyncio.sleep(0)
        command = state_pb2.SetShareCommand(fs_id=FS, partition_id=partition_id, quota_id=quota_id, share=share)
        done = applied(self.fleet.groups[self.fleet.layout[partition_id]].entry(set_share=command))
        await asyncio.sleep(0)
        return done.share

    async def mark(self, command):
        await asyncio.sleep(0)
        copied = state_pb2.MarkInodesCommand()
        copied.CopyFrom(command)
        done = applied(self.fleet.lab(command.inodes[0]).entry(mark_inodes=copied))
        await asyncio.sleep(0)
        return done.locked

    async def read(self, read, partition_id):
        await asyncio.sleep(0)
        result = reads.read(self.fleet.groups[self.fleet.layout[partition_id]].state, FS, read)
        await asyncio.sleep(0)
        if result.HasField("failure"):
            raise error_of(result.failure)
        return result

    async def pause(self, tries):
        await asyncio.sleep(0)


def applied(one):
    if one.failure is not None:
        raise error_of(one.failure)
    return one


class Quotas(Fleet):
    """Two sessions, transactions that may be left prepared, owners at work."""

    def __init__(self, layout):
        super().__init__(layout)
        self.tasks = {}
        self.locks = defaultdict(asyncio.Lock)
        self.prepared = []
        self.second = Counter()
        self.sessions = self.round = 0
        self.answers = Counter()
        self.passed = set()  # quotas that were over their limit when it was set
        self.session = b""
        self.new_session()

    def new_session(self):
        """End the second session, if there is one, and open another."""
        for lab in self.groups.values():
            if self.session:
                lab.end(self.session)
                assert not [key for key in lab.table(keys.RESERVED) if key[1:17] == self.session]
        self.sessions += 1
        self.session = self.sessions.to_bytes(16, "big")
        self.second.clear()
        for lab in self.groups.values():
            lab.open(self.session)

    # --------------------------------------------------------------------------------------- operations

    async def run(self, operation, *, home=None):
        """Do an operation as a client does, asking for allowances; return the status."""
        for _ in range(10):
            result = self.once(operation, home)
            self.answers[common_pb2.StatusCode.Name(result.status)] += 1
            if result.status != common_pb2.NO_ALLOWANCE:
                return result
            try:
                await self.patiently(self.ask(result.need))
            except FilesystemError as error:
                self.require_full(result.need)
                self.answers[common_pb2.StatusCode.Name(code_of(error))] += 1
                return pb.OperationResult(status=code_of(error))
            except (CurveFSError, Stuck):
                return result
        return result

    def once(self, operation, home):
        if home is None:
            return self.do(operation)
        lab = self.lab(home)
        lab.sequence += 1
        return lab.batch(lab.sequence, [operation], acknowledged=lab.sequence - 1).results.results[0]

    def second_session(self, operation, inode_id):
        """Do an operation on an inode in the other session."""
        lab = self.lab(inode_id)
        self.second[lab] += 1
        number = self.second[lab]
        return lab.batch(number, [operation], session=self.session, acknowledged=number - 1).results.results[0]

    def transact(self, operation, *, commit=True):
        self.numbers += 1
        number, home = self.numbers, home_of(operation)
        group = self.layout[home]
        mine = frozenset(one for one, its in enumerate(self.layout) if its == group)
        participants = set()
        try:
            return self._carry_out(number, group, mine, operation, participants, commit)
        except Refused as refused:
            result = pb.OperationResult(status=refused.failure.code)
            result.need.CopyFrom(refused.failure.need)
        except Refusal as refusal:
            result = pb.OperationResult(status=refusal.code, need=refusal.need)
        except NothingToDo:
            result = pb.OperationResult()
        for one in participants:
            self.end(one, number, group, commit=False)
        return result

    def _carry_out(self, number, group, mine, operation, participants, commit):
        lab = self.groups[group]
        target = None
        if operation.HasField("rename"):
            there = self.inode(operation.rename.new_parent)
            target = None if there is None else quotas.below(there)
        made = plan(Scope(lab.state, 0, 0, FS, SESSION), operation, mine, target)
        if made.moves_directories:
            self._prepare(number, group, {0: [move_lock()]}, participants, made, operation)
        second = self._prepare(number, group, made.first, participants, made, operation)
        self._prepare(number, group, second, participants, made, operation)
        for start, forbidden in made.walks:
            self._walk(start, forbidden)
        pending = lab, number, group, made, sorted(participants)
        if not commit:
            self.prepared.append(pending)
            return pb.OperationResult()
        return self.commit(*pending)

    def _prepare(self, number, group, wanted, participants, made, operation):
        by_group, more = defaultdict(list), {}
        for partition_id, parts in wanted.items():
            by_group[self.layout[partition_id]] += parts
        for group_id, parts in by_group.items():
            participants.add(group_id)
            self.round += 1
            command = state_pb2.PrepareCommand(
                id=id_of(number, group), age=t.Age(time_ns=number), fs_id=FS, parts=parts, round=self.round % 200
            )
            done = self.groups[group_id].entry(prepare=command)
            if done.conflict is not None:
                raise Refusal(common_pb2.LOCKED)
            if done.failure is not None:
                raise Refused(done.failure)
            for part, fact in zip(parts, done.facts, strict=True):
                for partition_id, further in made.learn(operation, SESSION, part, fact).items():
                    more.setdefault(partition_id, []).extend(further)
        return more

    def _walk(self, at, forbidden):
        while at != 1:
            inode = self.inode(at)
            if at == forbidden or inode is None:
                raise Refusal(common_pb2.INVALID_ARGUMENT)
            at = inode.parent

    def commit(self, lab, number, group, made, participants):
        parts = made.decided_parts()
        command = state_pb2.DecideCommand(
            id=id_of(number, group, lab.term),
            age=t.Age(time_ns=number),
            fs_id=FS,
            session_id=SESSION,
            number=number,
            acknowledged=number - 1,
            parts=parts,
            participants=participants,
            result=made.result,
        )
        done = lab.entry(decide=command)
        if done.decided is None:
            for one in participants:
                self.end(one, number, group, commit=False)
            failure = done.failure or common_pb2.Failure(code=common_pb2.LOCKED)
            result = pb.OperationResult(status=failure.code)
            if failure.HasField("need"):
                result.need.CopyFrom(failure.need)
            return result
        for one in participants:
            self.end(one, number, group, commit=True)
        forget(lab, number)
        return done.decided.result

    def end(self, group_id, number, group, *, commit):
        self.groups[group_id].entry(finish=state_pb2.FinishCommand(id=id_of(number, group), commit=commit))

    # ------------------------------------------------------------------------------------------- quotas

    def set_quota(self, inode_id, bytes_, inodes):
        command = state_pb2.SetQuotaCommand(
            fs_id=FS, inode_id=inode_id, limit=common_pb2.QuotaAmount(bytes=bytes_, inodes=inodes)
        )
        return self.lab(inode_id).entry(set_quota=command)

    def delete_quota(self, quota_id):
        command = state_pb2.AdvanceQuotaCommand(fs_id=FS, quota_id=quota_id, state=quota_owner.Status.DELETING)
        return self.lab(quota_id).entry(advance_quota=command)

    async def ask(self, need):
        lending = Lending(FleetPort(self, self.group_of(need.quota_id)), FS, need.quota_id)
        async with self.locks[need.quota_id]:
            await lending.ask(need.partition_id, need.amount)

    def begin_work(self):
        """Have the owners do what the state says is to be done."""
        for group_id, lab in self.groups.items():
            for _, record in quota_owner.all_here(lab.state):
                task = self.tasks.get(record.quota_id)
                if (task is None or task.done()) and needs_work(record):
                    self.tasks[record.quota_id] = asyncio.ensure_future(self.work(group_id, record))

    async def work(self, group_id, record):
        port, lock = FleetPort(self, group_id), self.locks[record.quota_id]
        counting = Counting(port, FS, record.quota_id, record.inode_id, lock)
        try:
            if record.state == quota_owner.Status.DELETING:
                await counting.remove()
            elif record.state == quota_owner.Status.COUNTING:
                await counting.count()
            else:
                await counting.settle()
        except CurveFSError:
            return  # it is begun again

    async def stop(self):
        tasks, self.tasks = self.tasks, {}
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def patiently(self, work):
        task = asyncio.ensure_future(work)
        for _ in range(PATIENCE):
            await asyncio.sleep(0)
            if task.done():
                return task.result()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise Stuck

    async def finish_all(self):
        """Have everything that is under way come to its end."""
        while self.prepared:
            self.commit(*self.prepared.pop())
        for _ in range(50):
            self.begin_work()
            tasks = [one for one in self.tasks.values() if not one.done()]
            if not tasks:
                return
            await asyncio.gather(*tasks, return_exceptions=True)
        raise AssertionError("the owners do not come to an end")

    # ------------------------------------------------------------------------------------------- checks

    def records(self):
        return {r.quota_id: r for lab in self.groups.values() for _, r in quota_owner.all_here(lab.state)}

    def shares(self, quota_id):
        """Return {partition: share}; of the filesystem's quota with what is used."""
        found = {}
        for partition_id, group_id in enumerate(self.layout):
            state = self.groups[group_id].state
            if quota_id == quotas.FILESYSTEM:
                record = state_pb2.PartitionRecord.FromString(state.get(keys.partition(FS, partition_id)))
                share = record.share
                share.used.bytes, share.used.inodes = record.used_bytes, record.inode_count
            else:
                share = common_pb2.QuotaShare.FromString(state.get(keys.share(FS, partition_id, quota_id)) or b"")
            found[partition_id] = share
        return found

    def inodes(self):
        for lab in self.groups.values():
            for key in lab.table(keys.INODE):
                yield pb.Inode.FromString(lab.state.pairs[key])

    def check_counters(self):
        """Every counter equals a full recount, at any time."""
        counted = defaultdict(Counter)
        for inode in self.inodes():
            here = partition_of(inode.inode_id)
            size = inode.length if stat.S_ISREG(inode.mode) else 0
            for quota_id in (quotas.FILESYSTEM, *inode.quotas):
                counted[quota_id, here].update(bytes=size, inodes=1)
        for quota_id in {one for one, _ in counted} | self.records().keys() | {quotas.FILESYSTEM}:
            for partition_id, share in self.shares(quota_id).items():
                if not share.gone:
                    wanted = counted[quota_id, partition_id]
                    assert (share.used.bytes, share.used.inodes) == (wanted["bytes"], wanted["inodes"]), quota_id

    def check_limits(self):
        """No quota that limits is passed, and nothing may be used that was not lent."""
        for quota_id, record in self.records().items():
            shares = self.shares(quota_id)
            lab = self.lab(quota_id)
            if record.state != quota_owner.Status.ACTIVE or record.settling:
                self.passed.discard(quota_id)
                continue
            lent = Counter()
            for partition_id, share in shares.items():
                loan = quota_owner.loan_of(lab.state, FS, quota_id, partition_id)
                for kind in ("bytes", "inodes"):
                    if share.unlimited:
                        continue
                    may = max(getattr(share.allowance, kind), 0)
                    uses = getattr(share.used, kind) + getattr(share.reserved, kind)
                    assert uses <= may <= getattr(loan.lent, kind), (quota_id, partition_id, kind, share, loan)
                    lent[kind] += getattr(loan.lent, kind)
            if quota_id not in self.passed:
                over = any(
                    limit and lent[kind] > limit
                    for kind, limit in (("bytes", record.limit.bytes), ("inodes", record.limit.inodes))
                )
                if over and quota_id not in getattr(self, "within", set()):
                    self.passed.add(quota_id)  # it held more already
                    continue
                assert not over
                self.within = getattr(self, "within", set()) | {quota_id}

    def check_chains(self):
        """What lies in a directory is charged to exactly what the directory says. Only when nothing is under way.

        A removed quota may still be named by what was moved out of it meanwhile; it charges nothing.
        """
        known = self.records()
        for inode in self.inodes():
            if inode.inode_id == 1 or not inode.nlink or inode.parent_gone:
                continue
            parent = self.inode(inode.parent)
            assert parent is not None
            alive, wanted = ([one for one in its if one in known] for its in (inode.quotas, quotas.below(parent)))
            assert alive == wanted

    def require_full(self, need):
        """A refusal says the truth: so much is not left."""
        record = self.records()[need.quota_id]
        shares = self.shares(need.quota_id).values()
        for kind in ("bytes", "inodes"):
            limit, wanted = getattr(record.limit, kind), getattr(need.amount, kind)
            uses = sum(getattr(one.used, kind) + getattr(one.reserved, kind) for one in shares)
            if limit and wanted and uses + wanted > limit:
                return
        raise AssertionError(f"there is room: {need}, {record}, {list(shares)}")


class Refused(Exception):
    def __init__(self, failure):
        super().__init__(failure.message)
        self.failure = failure


def needs_work(record):
    return record.state != quota_owner.Status.ACTIVE or record.settling
