"""Recovery: an MDS whose store is an older copy makes and removes nothing until it knows what it lacks (rule 6).

It is found out by a metaserver that has obeyed a higher epoch than this term's, or was told of more changes of the
store than it has had; or an operator says so (`--recover`), when metaservers have lost what they were told. Then a mark
is stored together with an epoch above everything heard, and the term ends: the next one is obeyed by metaservers and
begins in recovery, whichever MDS serves it.

While it lasts, metaservers report in full, and what the store does not know is taken up from their reports (survey.py);
sessions are taken up when they are renewed. It ends when every metaserver that the store knows has reported, nothing
that was reported is unknown, and what sessions were reported had a lease's time to be renewed; or when an operator says
so, after which what was never reported counts as gone. Identities of write-back mounts that are away are retained anew:
what they have staged can still be published.

Invariants:
    from the moment something newer was heard of, check() refuses, in this process and all that follow
    the mark is removed by the transaction that ends the recovery, and by nothing else

Shared across awaits: everything here; it changes between awaits only.
"""

import asyncio
from hashlib import blake2b

import structlog

from ....proto import heartbeat_pb2
from ....proto import mds_pb2 as pb
from ...common.clock import Clock
from ...common.errors import CurveFSError, InvalidArgument, Unavailable
from ...common.ids import SESSION_ID_SIZE
from ..heartbeat.reports import Reports
from ..state import FORMAT, ONLY, RECOVERY, Change, State, changed
from ..storage.protocol import Put
from .survey import PUTS_MAX, missing, survey

_log = structlog.get_logger()

# Meanwhile metaservers that are there are heard, and those that the store does not know at all register again.
_AT_LEAST_S = 10.0
_PAUSE_S = 1.0
_TOLD_MAX = 100
_SEALED_MAX = 50  # at a time: a transaction is bounded
_SESSIONS_MAX = 100_000
_EPOCH_MAX = 2**62  # that anybody can have been told: the next ones must fit into a message


def asked_for(now_ns: int) -> Put:
    """Return what marks a store as restored because an operator says so."""
    return _mark("an operator said that its store was restored", now_ns)


class Recovery:
    """Whether this MDS is in recovery, and the way out. Its background work is run(); advance() about once a second.

    lease_ms: of sessions.
    """

    def __init__(self, state: State, reports: Reports, clock: Clock, *, lease_ms: int) -> None:
        self._state = state
        self._reports = reports
        self._clock = clock
        self._lease_ms = lease_ms
        self._mark = state.recovery.get(ONLY)
        self._began_s = clock.boottime_s()
        self._newest_epoch = state.authority.epoch
        self._expected = {id_ for id_, record in state.metaservers.items() if not record.superseded_by}
        self._answered: set[int] = set()  # metaservers that were told of this term's changes
        self._suspicion = ""
        self._suspected = asyncio.Event()
        self._in_full: set[int] = set()  # metaservers
        self._sessions: dict[int, set[bytes]] = {}  # by the metaserver that listed them; unknown ones
        self._identities: dict[
            int, dict[bytes, int]
        ] = {}  # as _sessions: those that are durable, and of which filesystem
        self._over = asyncio.Event()
        if self._mark is None:
            self._over.set()
        else:
            _log.warning("in recovery: nothing is made or removed", reason=self._mark.reason)

    # -------------------------------------------------------------------------------------------- the gate

    @property
    def active(self) -> bool:
        """Return whether nothing may be made or removed."""
        return self._mark is not None or self._suspected.is_set()

    @property
    def line(self) -> str:
        """Return why it is in recovery and what ends it; empty when it is not."""
        if not self.active:
            return ""
        reason = self._mark.reason if self._mark is not None else self._suspicion
        return (
            f"the MDS is in recovery ({reason}): it makes and removes nothing until every metaserver has reported "
            "what it has; see 'curvefs-tool recovery show'"
        )

    def check(self) -> None:
        """Raise Unavailable while it is in recovery."""
        if self.active:
            raise Unavailable(self.line)

    def check_settled(self, *, unheard: bool) -> None:
        """Raise Unavailable while it may still turn out that the store is an older copy, or in recovery.

        For what cannot be taken back: a number given away, a session told that it is over. unheard: whether after a
        while it is enough that nobody was heard.
        """
        self.check()
        heard_all = self._expected <= self._answered
        lasted = self._clock.boottime_s() - self._began_s >= _AT_LEAST_S
        if not heard_all and not (lasted and (unheard or self._answered)):
            raise Unavailable("this MDS has just begun and waits for its metaservers")

    async def over(self) -> None:
        """Wait until this MDS is not in recovery."""
        await self._over.wait()

    # ---------------------------------------------------------------------------------------- finding out

    def is_newer(self, metaserver_id: int, epoch: int, changes: int) -> bool:
        """Say whether what a metaserver has heard of this cluster's MDS is newer than this one's store."""
        authority = self._state.authority
        known = authority.changes if metaserver_id in self._answered else authority.changes_found
        return epoch > authority.epoch or changes > known

    def compare(self, metaserver_id: int, epoch: int, changes: int) -> None:
        """Note the highest epoch that a metaserver has obeyed, and of how many changes it was told.

        Raises Unavailable when that is newer than the store, and this term must end; InvalidArgument for an epoch that
        cannot have been one.
        """
        if epoch > _EPOCH_MAX:
            raise InvalidArgument(f"metaserver {metaserver_id} says that it obeyed epoch {epoch}")
        authority = self._state.authority
        if not self.is_newer(metaserver_id, epoch, changes):
            return
        authority.count_from(changes)
        if epoch > authority.epoch:
            told = f"metaserver {metaserver_id} obeyed epoch {epoch}, and this one is {authority.epoch}"
        elif self._mark is None:
            told = f"metaserver {metaserver_id} was told of {changes} changes, and it has {authority.changes_found}"
        else:
            return
        self._newest_epoch = max(epoch, self._newest_epoch)
        self._suspicion = self._suspicion or f"the store is an older copy: {told}"
        self._suspected.set()
        raise Unavailable(self.line)

    def answered(self, metaserver_id: int) -> int:
        """Return of how many changes a metaserver is to be told."""
        self._answered.add(metaserver_id)
        return self._state.authority.changes

    async def run(self) -> None:
        """Once the store turns out to be an older copy, mark it and end the term; else wait for ever."""
        await self._suspected.wait()
        _log.error("a newer MDS than this one was obeyed", reason=self._suspicion)
        while self._state.authority.holds:
            try:
                await self._begin_anew()
            except CurveFSError as error:
                _log.error("the recovery could not be written down", reason=str(error))
            await asyncio.sleep(_PAUSE_S)

    async def _begin_anew(self) -> None:
        # Refused when another MDS serves meanwhile: then it was that one, and the store is no copy.
        marks = [] if self._mark is not None else [_mark(self._suspicion, self._clock.time_ns())]
        await self._state.authority.begin_anew(marks, self._newest_epoch, "its store is an older copy")

    # ------------------------------------------------------------------------------------------- learning

    def heard(self, request: heartbeat_pb2.HeartbeatRequest) -> None:
        """Note a heartbeat of a known metaserver, after it is in the reports."""
        if self._mark is None or not request.in_full:
            return
        self._in_full.add(request.metaserver_id)
        room = _SESSIONS_MAX - sum(map(len, self._sessions.values()))
        listed = {one.session_id for copyset in request.copysets if copyset.leading for one in copyset.sessions}
        self._sessions[request.metaserver_id] = set(list(self._unknown(listed))[:room])
        self._identities[request.metaserver_id] = {
            one.session_id: one.fs_id
            for copyset in request.copysets
            if copyset.leading
            for one in copyset.sessions
            if one.durable and one.session_id in self._sessions[request.metaserver_id]
        }

    async def advance(self) -> None:
        """Take up what was reported, and end the recovery when that is all. Raises what State.change raises."""
        if self._mark is None or self._suspected.is_set():
            return
        while learned := await self._state.change(self._learn):
            for line in learned[:_TOLD_MAX]:
                _log.info("learned again", what=line)
        if await self._state.change(self._end_when_complete):
            self._ended("everything is known again")

    async def end(self) -> None:
        """End it, whatever is not known yet. Raises what State.change raises."""
        if self._mark is None:
            return
        if self._suspected.is_set():
            raise Unavailable(self.line)
        while await self._state.change(self._learn):
            pass
        while not await self._state.change(self._end_anyway):
            pass
        self._ended("an operator ended it")

    def status(self) -> pb.RecoveryReply:
        """Return how far it is."""
        if not self.active:
            return pb.RecoveryReply()
        mark = self._mark
        return pb.RecoveryReply(
            recovering=True,
            reason=mark.reason if mark is not None else self._suspicion,
            since_ns=mark.since_ns if mark is not None else 0,
            silent_metaservers=self._silent(),
            unknown=survey(self._state, self._reports).unknown[:_TOLD_MAX],
            unknown_sessions=self._awaited_sessions(),
            missing=missing(self._state, self._reports)[:_TOLD_MAX],
        )

    def _learn(self, change: Change) -> list[str]:
        findings = survey(self._state, self._reports)
        findings.put_in(change)
        return findings.learned + self._learn_identities(change, PUTS_MAX - len(findings.puts))

    def _learn_identities(self, change: Change, count_max: int) -> list[str]:
        """Retain the identities of mounts that the store does not know, as if their sessions were over since now."""
        reported = {one: fs_id for said in self._identities.values() for one, fs_id in said.items()}
        unknown = [one for one in sorted(self._unknown(set(reported))) if reported[one] in self._state.filesystems]
        for identity in unknown[:count_max]:
            # Not the identity's own id: a group that serves that is not to end it.
            session_id = blake2b(identity, digest_size=SESSION_ID_SIZE, person=b"retained").digest()
            retained = pb.MountSession(
                format=FORMAT,
                session_id=session_id,
                fs_id=reported[identity],
                host="(not known any more)",
                mountpoint="(not known any more)",
                opened_ns=self._clock.time_ns(),
                lease_ms=self._lease_ms,
                identity=identity,
                retained_since_ns=self._clock.time_ns(),
            )
            change.put(self._state.sessions, session_id, retained)
        return [f"the identity {one.hex()} of a write-back mount" for one in unknown[:count_max]]

    def _end_when_complete(self, change: Change) -> bool:
        lasted_s = self._clock.boottime_s() - self._began_s
        if lasted_s < _AT_LEAST_S or self._silent() or self._awaited_sessions():
            return False
        findings = survey(self._state, self._reports)
        if findings.unknown or findings.puts or self._suspected.is_set():
            return False
        change.delete(self._state.recovery, ONLY)
        return True

    def _end_anyway(self, change: Change) -> bool:
        """Take a step: replicas that may be on a metaserver which has not reported must not be made anew, empty."""
        silent = set(self._silent())
        unsealed = [
            record
            for record in self._state.copysets.values()
            if not record.sealed and any(peer.metaserver_id in silent for peer in record.peers)
        ]
        for record in unsealed[:_SEALED_MAX]:
            change.put(self._state.copysets, record.group_id, changed(record, sealed=True))
        if len(unsealed) > _SEALED_MAX:
            return False
        change.delete(self._state.recovery, ONLY)
        return True

    def _ended(self, why: str) -> None:
        if self._mark is None:
            return
        for line in missing(self._state, self._reports)[:_TOLD_MAX]:
            _log.warning("the store knows what nobody has", what=line)
        _log.warning("the recovery is over", why=why)
        self._mark = None
        self._sessions.clear()
        self._identities.clear()
        if not self._suspected.is_set():
            self._over.set()

    def _silent(self) -> list[int]:
        """Return the metaservers that have not said yet all they have."""
        known = self._state.metaservers.items()
        return sorted(id_ for id_, record in known if not record.superseded_by and id_ not in self._in_full)

    def _awaited_sessions(self) -> int:
        """Return how many sessions are reported that nobody has renewed, while they may still be."""
        if self._clock.boottime_s() - self._began_s >= self._lease_ms / 1000:
            return 0
        return len(self._unknown(set().union(*self._sessions.values())))

    def _unknown(self, sessions: set[bytes]) -> set[bytes]:
        identities = {session.identity for session in self._state.sessions.values()}
        return {one for one in sessions if one not in self._state.sessions and one not in identities}


def _mark(reason: str, now_ns: int) -> Put:
    mark = pb.RecoveryMark(format=FORMAT, reason=reason, since_ns=now_ns)
    return Put(RECOVERY, mark.SerializeToString(deterministic=True))
