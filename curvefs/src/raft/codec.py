"""Messages and configurations as the bytes that cross the network and lie in the log (raft.proto). Pure."""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError

from ...proto import common_pb2
from ...proto import raft_pb2 as pb
from ..common.errors import CorruptData
from . import messages as m
from .configuration import Configuration


def encode_configuration(value: Configuration) -> bytes:
    """Return the data of a CONFIGURATION entry."""
    peers = [common_pb2.Peer(metaserver_id=server, address=address) for server, address in value.addresses]
    said = pb.Configuration(
        voters=value.voters, outgoing_voters=value.outgoing, learners=value.learners, peers=peers, since=value.since
    )
    return said.SerializeToString(deterministic=True)


def decode_configuration(data: bytes) -> Configuration:
    """Return the configuration of an entry or a snapshot. Raises CorruptData."""
    try:
        said = pb.Configuration.FromString(data)
    except DecodeError as error:
        raise CorruptData("a group's configuration cannot be read") from error
    addresses = tuple((peer.metaserver_id, peer.address) for peer in said.peers)
    return Configuration(tuple(said.voters), tuple(said.outgoing_voters), tuple(said.learners), addresses, said.since)


def encode_hard_state(value: m.HardState) -> bytes:
    """Return the payload of a HARD_STATE record."""
    said = pb.HardState(term=value.term, vote=value.vote, committed=value.committed, joining=value.joining)
    return said.SerializeToString()


def decode_hard_state(data: bytes) -> m.HardState:
    """Return what a HARD_STATE record says."""
    said = pb.HardState.FromString(data)
    return m.HardState(said.term, said.vote, said.committed, said.joining)


def encode(message: m.Message) -> pb.Message:
    """Return a message as it crosses the network."""
    return _ENCODERS[type(message)](message)


def decode(said: pb.Message) -> m.Message:
    """Return a message that came in. Raises CorruptData for a type this version does not know, or an unfit one."""
    decoder = _DECODERS.get(said.type)
    if decoder is None:
        raise CorruptData(f"a raft message of unknown type {said.type}")
    return decoder(said)


def _pb(kind: pb.MessageType, message: Any, **fields: Any) -> pb.Message:
    said = pb.Message(type=kind, to=message.to, term=message.term, **fields)
    setattr(said, "from", message.source)
    return said


def _source(said: pb.Message) -> int:
    return int(getattr(said, "from"))


def _encode_vote(message: m.Vote) -> pb.Message:
    return _pb(
        pb.PRE_VOTE if message.pre else pb.VOTE,
        message,
        log_index=message.last_index,
        log_term=message.last_term,
        forced=message.forced,
    )


def _encode_vote_reply(message: m.VoteReply) -> pb.Message:
    return _pb(pb.PRE_VOTE_REPLY if message.pre else pb.VOTE_REPLY, message, rejected=not message.granted)


def _encode_append(message: m.Append) -> pb.Message:
    entries = [pb.Entry(term=e.term, index=e.index, type=int(e.kind), data=e.data) for e in message.entries]  # type: ignore[arg-type]
    return _pb(
        pb.APPEND,
        message,
        log_index=message.previous_index,
        log_term=message.previous_term,
        entries=entries,
        committed=message.committed,
        token=message.token,
    )


def _encode_append_reply(message: m.AppendReply) -> pb.Message:
    return _pb(
        pb.APPEND_REPLY,
        message,
        log_index=message.index,
        token=message.token,
        rejected=message.rejected,
        hint_index=message.hint_index,
        hint_term=message.hint_term,
    )


def _encode_heartbeat(message: m.Heartbeat) -> pb.Message:
    return _pb(pb.HEARTBEAT, message, committed=message.committed, round=message.round, quiet=message.quiet)


def _encode_heartbeat_reply(message: m.HeartbeatReply) -> pb.Message:
    return _pb(pb.HEARTBEAT_REPLY, message, round=message.round, quiet=message.quiet, joining=message.joining)


def _encode_chunk(message: m.SnapshotChunk) -> pb.Message:
    chunk = pb.SnapshotChunk(
        index=message.index,
        term=message.snapshot_term,
        offset=message.offset,
        data=message.data,
        last=message.last,
        configuration=encode_configuration(message.configuration),
    )
    return _pb(pb.SNAPSHOT_CHUNK, message, snapshot=chunk, token=message.token)


def _encode_snapshot_reply(message: m.SnapshotReply) -> pb.Message:
    return _pb(pb.SNAPSHOT_REPLY, message, log_index=message.index, offset=message.offset, rejected=message.rejected)


def _encode_timeout_now(message: m.TimeoutNow) -> pb.Message:
    return _pb(pb.TIMEOUT_NOW, message)


def _decode_append(said: pb.Message) -> m.Append:
    try:
        entries = tuple(m.Entry(e.index, e.term, m.EntryKind(e.type), e.data) for e in said.entries)
    except ValueError as error:
        raise CorruptData("a raft message with an entry of unknown type") from error
    if any(entry.index != said.log_index + i for i, entry in enumerate(entries, 1)):
        raise CorruptData("a raft message with a hole in its entries")
    return m.Append(
        _source(said), said.to, said.term, said.log_index, said.log_term, entries, said.committed, said.token
    )


def _decode_chunk(said: pb.Message) -> m.SnapshotChunk:
    chunk = said.snapshot
    configuration = decode_configuration(chunk.configuration)
    return m.SnapshotChunk(
        _source(said),
        said.to,
        said.term,
        chunk.index,
        chunk.term,
        configuration,
        chunk.offset,
        chunk.data,
        chunk.last,
        said.token,
    )


_ENCODERS: dict[type, Callable[[Any], pb.Message]] = {
    m.Vote: _encode_vote,
    m.VoteReply: _encode_vote_reply,
    m.Append: _encode_append,
    m.AppendReply: _encode_append_reply,
    m.Heartbeat: _encode_heartbeat,
    m.HeartbeatReply: _encode_heartbeat_reply,
    m.SnapshotChunk: _encode_chunk,
    m.SnapshotReply: _encode_snapshot_reply,
    m.TimeoutNow: _encode_timeout_now,
}

_DECODERS: dict[int, Callable[[pb.Message], m.Message]] = {
    pb.VOTE: lambda s: m.Vote(_source(s), s.to, s.term, s.log_index, s.log_term, pre=False, forced=s.forced),
    pb.PRE_VOTE: lambda s: m.Vote(_source(s), s.to, s.term, s.log_index, s.log_term, pre=True, forced=s.forced),
    pb.VOTE_REPLY: lambda s: m.VoteReply(_source(s), s.to, s.term, pre=False, granted=not s.rejected),
    pb.PRE_VOTE_REPLY: lambda s: m.VoteReply(_source(s), s.to, s.term, pre=True, granted=not s.rejected),
    pb.APPEND: _decode_append,
    pb.APPEND_REPLY: lambda s: m.AppendReply(
        _source(s), s.to, s.term, s.log_index, s.token, s.rejected, s.hint_index, s.hint_term
    ),
    pb.HEARTBEAT: lambda s: m.Heartbeat(_source(s), s.to, s.term, s.committed, s.round, s.quiet),
    pb.HEARTBEAT_REPLY: lambda s: m.HeartbeatReply(_source(s), s.to, s.term, s.round, s.quiet, s.joining),
    pb.SNAPSHOT_CHUNK: _decode_chunk,
    pb.SNAPSHOT_REPLY: lambda s: m.SnapshotReply(_source(s), s.to, s.term, s.log_index, s.offset, s.rejected),
    pb.TIMEOUT_NOW: lambda s: m.TimeoutNow(_source(s), s.to, s.term),
}
