"""Mount sessions: who has a filesystem mounted, for how long yet, and whose end must still be told.

A session lives while its lease is renewed. Renewals are counted in memory only; an MDS that begins to serve gives
every session a full lease (rule 8). An end, by the client or by time, is stored at once together with the groups that
must hear of it; the queue tells each one until it confirmed, and only then the record goes.

Invariants:
    a session that is ending is never live again
    a session's record exists until every group of its filesystem has its end in its log

An MDS that did not look for a while (its machine was suspended, its process stopped) could not be reached either: it
adds that while to every lease, as after a restart.

In recovery no session begins or ends, and a mount that renews one that the store has forgotten has it taken up again.

A write-back mount has an identity that outlives its sessions (rule 9): it owns the chunk ids of what is staged on the
mount's disk. When its last session is over, that one's record is retained, and ends with the identity after the
retention, or when an operator or the mount itself says so. One session at a time has an identity: a new one ends the
one before. The retention is over only when the MDS's clock and the metaservers' both say so: with the identity goes
what is staged, and one clock may be wrong.

A token expires with the lease it was issued for, so what a group accepts without asking ends by itself too.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

import structlog

from ...proto import mds_pb2 as pb
from ..common import tokens
from ..common.clock import Clock
from ..common.errors import (
    FilesystemGone,
    InvalidArgument,
    NotFound,
    Overloaded,
    ResourceBusy,
    SessionEnded,
    TokenRefused,
    Unavailable,
)
from ..common.ids import SESSION_ID_SIZE
from .fleet import Fleet
from .heartbeat.reports import Reports
from .recovery.recovery import Recovery
from .retries import RetryQueue
from .state import FORMAT, Change, State, changed
from .topology.views import Views

_log = structlog.get_logger()
# How long the end of an exclusive mount waits for its groups, so that the next one can follow at once.
_EXCLUSIVE_END_S = 2.0
# Not having looked for so long is no fault of the clients.
_ABSENCE_S = 10.0


@dataclass(slots=True)
class _Lease:
    deadline_s: float  # boot time
    renewed_ns: int


class Sessions:
    """All mount sessions. Its background work is ``endings.run()``; expire() is to be called about once a second.

    lease_ms: of every new session. count_max: sessions at a time, of all filesystems.
    """

    def __init__(
        self,
        state: State,
        reports: Reports,
        views: Views,
        fleet: Fleet,
        recovery: Recovery,
        *,
        clock: Clock,
        lease_ms: int,
        retention_s: int,
        count_max: int,
        random_bytes: Callable[[int], bytes],
        random: Callable[[], float],
    ) -> None:
        self._state = state
        self._reports = reports
        self._views = views
        self._fleet = fleet
        self._recovery = recovery
        self._clock = clock
        self._lease_ms = lease_ms
        self._retention_ns = retention_s * 10**9
        self._count_max = count_max
        self._random_bytes = random_bytes
        self._leases: dict[bytes, _Lease] = {}
        self._looked_s = clock.boottime_s()
        self.endings: RetryQueue[int] = RetryQueue("end sessions", self._tell_group, random=random)
        for session in state.sessions.values():
            if session.ending:
                self._pursue(session)
            elif not session.retained_since_ns:
                self._renew(session)

    # --------------------------------------------------------------------------------------- one session

    async def open(self, request: pb.OpenSessionRequest) -> tuple[pb.MountSession, bytes]:
        """Begin a session; return it and its token. A call with the nonce of an open session is answered with that one.

        Raises NotFound (no such filesystem, or not ready), FilesystemGone (the one that is mounted was deleted),
        ResourceBusy (an exclusive mount is or would be broken), Overloaded (too many sessions), Unavailable (in
        recovery), SessionEnded (its identity is over).
        """
        self._recovery.check()
        session_id = self._random_bytes(SESSION_ID_SIZE)
        session = await self._state.change(lambda change: self._begin(change, request, session_id))
        self._renew(session)
        if session.session_id != session_id:
            return self.shown(session), self._token(session)
        for other in self._state.sessions_of(session.fs_id) if request.identity else []:
            if other.identity == request.identity and other.session_id != session_id:
                await self._end(other.session_id, lambda _: True)
        _log.info("a session began", session=session_id.hex(), fs=request.name, host=session.host)
        return self.shown(session), self._token(session)

    async def renew(
        self, session_id: bytes, token: bytes = b"", was: pb.MountSession | None = None
    ) -> tuple[bytes, int]:
        """Give a session its full lease again; return a new token and the lease in milliseconds.

        token, was: what the mount has of it; so an MDS in recovery takes up a session that it does not know.
        Raises SessionEnded; Unavailable (in recovery, if it does not show enough to be taken up; or just begun).
        """
        session = self._state.sessions.get(session_id)
        if session is None and self._recovery.active:
            session = await self._take_up(session_id, token, was or pb.MountSession())
        if session is None:
            self._recovery.check_settled(unheard=False)
        if session is None or session.ending or session.retained_since_ns:
            raise SessionEnded("the session has ended: it was closed, or not renewed in time")
        self._renew(session)
        return self._token(session), session.lease_ms

    async def close(self, session_id: bytes, *, end_identity: bool = False) -> None:
        """End a session because its mount is gone; also its identity, if so said. Idempotent.

        Raises Unavailable (in recovery).
        """
        self._recovery.check()
        session = self._state.sessions.get(session_id)
        if session is None:
            return
        groups = await self._end(session_id, lambda _: True, end_identity=end_identity)
        if session.exclusive:
            for group_id in groups:
                await self.endings.finished(group_id, _EXCLUSIVE_END_S)

    async def expire(self) -> int:
        """End every session whose lease has run out; return how many. Raises what State.change raises."""
        now_s = self._look()
        if self._recovery.active:
            return 0
        due = [session_id for session_id, lease in self._leases.items() if lease.deadline_s <= now_s]
        for session_id in due:
            if session := self._state.sessions.get(session_id):
                _log.warning("a session was not renewed in time", session=session_id.hex(), host=session.host)
            await self._end(session_id, lambda lease: lease is not None and lease.deadline_s <= now_s)
            self._look()  # to end many takes long, and is no absence
        return len(due) + await self._expire_identities()

    def _look(self) -> float:
        """Return the boot time; what passed since the last look is added to all leases if it is an absence."""
        now_s = self._clock.boottime_s()
        absent_s, self._looked_s = now_s - self._looked_s, now_s
        if absent_s > _ABSENCE_S:
            _log.warning("this MDS was absent, all leases are extended", seconds=round(absent_s))
            for lease in self._leases.values():
                lease.deadline_s += absent_s
        return now_s

    async def _expire_identities(self) -> int:
        told_ns = self._reports.time_ns(self._clock.boottime_s())
        if told_ns is None:
            return 0
        oldest_ns = min(self._clock.time_ns(), told_ns) - self._retention_ns
        due = [one for one in self._state.sessions.values() if 0 < one.retained_since_ns <= oldest_ns]
        for one in due:
            _log.error(
                "what a write-back mount has staged was not published within the retention, and will not be",
                session=one.session_id.hex(),
                host=one.host,
                mountpoint=one.mountpoint,
            )
            await self._end(one.session_id, lambda _: True, end_identity=True)
        return len(due)

    def keep_all(self) -> None:
        """Give every session a full lease: instead of expire(), while none may end."""
        self._looked_s = self._clock.boottime_s()
        for session_id, lease in self._leases.items():
            if session := self._state.sessions.get(session_id):
                lease.deadline_s = max(lease.deadline_s, self._looked_s + session.lease_ms / 1000)

    # --------------------------------------------------------------------------------------- many of them

    def of(self, fs_id: int | None) -> list[pb.MountSession]:
        """Return the sessions of a filesystem, or all, the oldest first; also those that are ending."""
        chosen = [session for session in self._state.sessions.values() if fs_id is None or session.fs_id == fs_id]
        return [self.shown(session) for session in sorted(chosen, key=lambda one: (one.opened_ns, one.session_id))]

    def shown(self, session: pb.MountSession) -> pb.MountSession:
        """Return a session as it is answered: with the time of its last renewal."""
        lease = self._leases.get(session.session_id)
        return changed(session, renewed_ns=lease.renewed_ns if lease else session.renewed_ns)

    def over_among(self, session_ids: Collection[bytes]) -> set[bytes]:
        """Return those sessions and identities that a group which serves them must end.

        For many at once, because all sessions are looked at where there are identities.
        """
        known = self._state.sessions
        over = {one for one in session_ids if (session := known.get(one)) is not None and not _is_open(session)}
        unknown = {one for one in session_ids if one not in known}
        if unknown:
            unknown.difference_update(session.identity for session in known.values())
        return over | unknown

    # -------------------------------------------------------------------------------------------- inside

    def _begin(self, change: Change, request: pb.OpenSessionRequest, session_id: bytes) -> pb.MountSession:
        fs_id = self._state.fs_names.get(request.name)
        filesystem = self._state.filesystems.get(fs_id) if fs_id else None
        if request.uuid and (filesystem is None or filesystem.uuid != request.uuid):
            raise FilesystemGone(f"the filesystem that was '{request.name}' was deleted")
        if filesystem is None:
            raise NotFound(f"no filesystem '{request.name}'")
        if filesystem.state != pb.ACTIVE:
            raise NotFound(f"filesystem '{request.name}' is not ready yet")
        _check_sizes(request)
        for other in self._state.sessions_of(filesystem.fs_id) if request.nonce else []:
            if other.nonce == request.nonce and _is_open(other):
                return other
        if len(self._state.sessions) >= self._count_max:
            raise Overloaded(f"there are {self._count_max} sessions already", retry_after_ms=5000)
        for other in self._state.sessions_of(filesystem.fs_id):
            # One that is ending may still change things until every group confirmed.
            if (request.exclusive or other.exclusive) and not _is_before(other, request.identity):
                raise ResourceBusy(
                    f"filesystem '{request.name}' is mounted {_told(other)}, and one of both is exclusive"
                )
        self._continue(change, filesystem.fs_id, request)
        session = pb.MountSession(
            format=FORMAT,
            session_id=session_id,
            fs_id=filesystem.fs_id,
            host=request.host,
            pid=request.pid,
            mountpoint=request.mountpoint,
            opened_ns=self._clock.time_ns(),
            renewed_ns=self._clock.time_ns(),
            lease_ms=self._lease_ms,
            read_only=request.read_only,
            exclusive=request.exclusive,
            identity=request.identity,
            nonce=request.nonce,
            metrics_address=request.metrics_address,
            version=request.version,
        )
        change.put(self._state.sessions, session_id, session)
        return session

    def _continue(self, change: Change, fs_id: int, request: pb.OpenSessionRequest) -> None:
        """Check an identity, and let the new session have it. Raises SessionEnded."""
        before = [
            one for one in self._state.sessions_of(fs_id) if request.identity and one.identity == request.identity
        ]
        if any(one.ending_identity for one in before) or (request.continues and not before):
            raise SessionEnded("the write-back identity is over: nobody continued it in time, or it was ended")
        for one in before:
            if one.retained_since_ns:
                change.delete(self._state.sessions, one.session_id)

    async def _take_up(self, session_id: bytes, token: bytes, was: pb.MountSession) -> pb.MountSession:
        """Return a session that the store has forgotten, stored again.

        Its token may have expired meanwhile: known sessions also outlive the absence of the MDS. Whether the groups
        have ended it they say themselves.
        """
        try:
            signed = tokens.verify(self._state.authority.cluster.secret, token)
        except TokenRefused as error:
            raise Unavailable(f"{error}; {self._recovery.line}") from error
        if signed.session_id != session_id or len(session_id) != SESSION_ID_SIZE:
            raise Unavailable(f"the token is of another session; {self._recovery.line}")
        _check_sizes(was)
        session = changed(
            was,
            format=FORMAT,
            session_id=session_id,
            fs_id=signed.fs_id,
            read_only=signed.read_only,
            identity=signed.identity,
            lease_ms=self._lease_ms,
            ending=False,
        )
        session.ClearField("ending_groups")
        session.ClearField("retained_since_ns")
        session.ClearField("ending_identity")

        def decide(change: Change) -> pb.MountSession:
            known = self._state.sessions.get(session_id)
            if known is None:
                change.put(self._state.sessions, session_id, session)
                # Its identity may have been learned from the groups before.
                for other in self._state.sessions_of(session.fs_id) if session.identity else []:
                    if _is_before(other, session.identity):
                        change.delete(self._state.sessions, other.session_id)
            return known or session

        _log.warning("a session is known again", session=session_id.hex(), fs_id=session.fs_id, host=session.host)
        return await self._state.change(decide)

    def _renew(self, session: pb.MountSession) -> None:
        self._leases[session.session_id] = _Lease(
            self._clock.boottime_s() + session.lease_ms / 1000, self._clock.time_ns()
        )

    def _token(self, session: pb.MountSession) -> bytes:
        token = pb.SessionToken(
            fs_id=session.fs_id,
            session_id=session.session_id,
            expires_ns=self._clock.time_ns() + session.lease_ms * 1_000_000,
            read_only=session.read_only,
            identity=session.identity,
        )
        return tokens.sign(self._state.authority.cluster.secret, token)

    async def _end(
        self, session_id: bytes, still: Callable[[_Lease | None], bool], *, end_identity: bool = False
    ) -> list[int]:
        """Store the end of a session if ``still`` holds for its lease; return the groups to be told.

        With its identity end all sessions that had it, also those that are ending already: none of them may be retained
        for it. But one that is open is the heir, and keeps it.
        """

        def decide(change: Change) -> list[pb.MountSession]:
            session = self._state.sessions.get(session_id)
            if session is None or not still(self._leases.get(session_id)):
                return []
            others = self._others_of(session)
            with_identity = end_identity and bool(session.identity) and not any(map(_is_open, others))
            if (session.ending or session.retained_since_ns) and (session.ending_identity or not with_identity):
                return []
            groups = sorted({partition.group_id for partition in self._state.partitions_of(session.fs_id)})
            ended = []
            for one in [session, *others] if with_identity else [session]:
                ending = changed(self.shown(one), ending=True, retained_since_ns=0, ending_identity=with_identity)
                ending.ClearField("ending_groups")
                ending.ending_groups.extend(groups)
                if groups:
                    change.put(self._state.sessions, one.session_id, ending)
                else:
                    change.delete(self._state.sessions, one.session_id)
                ended.append(ending)
            return ended

        ended = await self._state.change(decide)
        if not ended:
            return []
        self._leases.pop(session_id, None)
        _log.info(
            "a session ends", session=session_id.hex(), host=ended[0].host, with_identity=ended[0].ending_identity
        )
        self._pursue(ended[0])
        return list(ended[0].ending_groups)

    def _pursue(self, session: pb.MountSession) -> None:
        for group_id in session.ending_groups:
            self.endings.add(group_id)

    async def _tell_group(self, group_id: int) -> None:
        waiting = [session.session_id for session in self._state.sessions.values() if group_id in session.ending_groups]
        for session_id in waiting:
            await self._tell(group_id, session_id)
            # The identity last: an open session would take further ids for it.
            session = self._state.sessions.get(session_id)
            with_identity = session is not None and session.ending_identity
            if session is not None and with_identity:
                await self._tell(group_id, session.identity)
            await self._state.change(partial(self._confirm, session_id, group_id, with_identity=with_identity))

    async def _tell(self, group_id: int, session_id: bytes) -> None:
        # One that is lost serves no session. Should it be found again, it lists this one, and the end is ordered.
        if not self._views.is_lost(group_id):
            await self._fleet.end_session(self._views.addresses(group_id), group_id, session_id)

    def _confirm(self, session_id: bytes, group_id: int, change: Change, *, with_identity: bool) -> None:
        session = self._state.sessions.get(session_id)
        if session is None or group_id not in session.ending_groups:
            return
        if session.ending_identity and not with_identity:
            return  # that was decided meanwhile, and the group is to be told again
        rest = changed(session)
        rest.ending_groups.remove(group_id)
        if rest.ending_groups:
            change.put(self._state.sessions, session_id, rest)
        elif rest.identity and not rest.ending_identity and not self._others_of(rest):
            told_ns = self._reports.time_ns(self._clock.boottime_s()) or 0
            since_ns = max(self._clock.time_ns(), told_ns)
            change.put(self._state.sessions, session_id, changed(rest, ending=False, retained_since_ns=since_ns))
        else:
            change.delete(self._state.sessions, session_id)

    def _others_of(self, session: pb.MountSession) -> list[pb.MountSession]:
        """Return the other sessions of its identity, if it has one."""
        return [
            one
            for one in self._state.sessions_of(session.fs_id)
            if session.identity and one.identity == session.identity and one.session_id != session.session_id
        ]


def _check_sizes(said: pb.OpenSessionRequest | pb.MountSession) -> None:
    for field in (said.host, said.mountpoint, said.metrics_address, said.version):
        if len(field) > 4096:
            raise InvalidArgument("host, mountpoint, metrics address and version are at most 4096 characters each")
    if any(len(field) not in (0, SESSION_ID_SIZE) for field in (said.identity, said.nonce)):
        raise InvalidArgument(f"an identity and a nonce have {SESSION_ID_SIZE} bytes")


def _is_before(other: pb.MountSession, identity: bytes) -> bool:
    """Say whether a session is over, and only kept for an identity that a new one continues."""
    return bool(identity) and other.identity == identity and other.retained_since_ns != 0


def _is_open(session: pb.MountSession) -> bool:
    return not session.ending and not session.retained_since_ns


def _told(session: pb.MountSession) -> str:
    return f"at {session.host}:{session.mountpoint}" + (" (which is ending)" if session.ending else "")
