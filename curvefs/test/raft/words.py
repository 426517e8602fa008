"""Servers, messages and entries as the words of a scenario file."""

from dataclasses import fields

from curvefs.src.raft import messages as m
from curvefs.src.raft.codec import decode_configuration
from curvefs.src.raft.configuration import Configuration
from curvefs.src.raft.messages import Entry, EntryKind, Message

from .servers import Server


def of_configuration(value: Configuration) -> str:
    text = ",".join(map(str, value.voters))
    text += f" from {','.join(map(str, value.outgoing))}" if value.outgoing else ""
    text += f" learners {','.join(map(str, value.learners))}" if value.learners else ""
    return f"<{text}>"


def of_entry(entry: Entry) -> str:
    """Return index/term and what is in it."""
    if entry.kind is EntryKind.CONFIGURATION:
        return f"{entry.index}/{entry.term}{of_configuration(decode_configuration(entry.data))}"
    data = entry.data.decode() if len(entry.data) <= 12 else f"{len(entry.data)} bytes"
    return f"{entry.index}/{entry.term}={data}"


def of_message(message: Message, *, tokens: bool = False) -> str:
    said = (
        {"granted"}
        if isinstance(message, m.VoteReply)
        else {"rejected"}
        if isinstance(message, m.AppendReply)
        else set()
    )
    names = [one.name for one in fields(message) if getattr(message, one.name) is True]
    flags = "".join(f" {name}" for name in names if name not in said)
    token = f" token {getattr(message, 'token', None)}" if tokens and hasattr(message, "token") else ""
    name = type(message).__name__
    return f"{message.source}->{message.to} {name} term {message.term}{_rest(message)}{flags}{token}"


def _rest(message: Message) -> str:
    match message:
        case m.Vote():
            return f" log {message.last_index}/{message.last_term}"
        case m.VoteReply():
            return " granted" if message.granted else " refused"
        case m.Append():
            entries = f" [{' '.join(map(of_entry, message.entries))}]" if message.entries else " nothing"
            return f" after {message.previous_index}/{message.previous_term}{entries} committed {message.committed}"
        case m.AppendReply(rejected=True):
            return f" not {message.index}, perhaps {message.hint_index}/{message.hint_term}"
        case m.AppendReply():
            return f" has {message.index}"
        case m.Heartbeat():
            return f" round {message.round} committed {message.committed}"
        case m.HeartbeatReply():
            return f" round {message.round}"
        case m.SnapshotChunk():
            return f" of {message.index}/{message.snapshot_term} at {message.offset}: {message.data.decode()}"
        case m.SnapshotReply():
            return f" of {message.index}: has {message.offset}"
        case _:
            return ""


def of_standing(server: Server) -> str:
    """Return role, term and vote."""
    if not server.is_up:
        return "down"
    raft = server.raft
    role = ("pre-" if getattr(raft._role, "pre", False) else "") + raft.role
    leader = f", follows {raft.leader}" if raft.leader not in (0, raft.id) else ""
    return f"{role} term {raft.term} vote {raft.vote}{leader}{', quiet' if raft.is_quiet else ''}"


def of_log(server: Server) -> str:
    """Return the log with its committed and its durable end."""
    log = server.raft.log
    base = f"({log.base.index}/{log.base.term}) " if log.base.index else ""
    entries = " ".join(of_entry(entry) for entry in log.entries(log.base.index + 1, 1 << 30))
    return f"{base}{entries or 'empty'} | committed {log.committed} durable {log.durable} applied {log.applied}"
