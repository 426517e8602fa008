"""Snapshots: files that bring a group's state to a metaserver whose log lags too far, or which joins.

A snapshot is streamed from one read transaction, so it is consistent while writes go on; LMDB keeps the pages of then
as long as that takes, so it has a time limit (rule 24). A loaded one becomes a state folder beside the one in use,
which Environment.replace() then puts in its place.

Both are for a thread. A step that keeps the interpreter is one block at most, and every pair read or written lets go
of it: beside an event loop nothing more is needed.

What the bytes are: snapshot_format.py.
"""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from ...common.errors import CorruptData, Unavailable, VersionUnsupported
from ...common.machine import sync_folder
from . import keys
from .environment import Applied, Environment, StateBuilder
from .snapshot_format import VERSION, BadSnapshot, Decoder, Header, NewerVersion, encode

READ_TIME_LIMIT_S = 600.0


def write_snapshot(
    environment: Environment,
    path: Path,
    *,
    configuration: bytes,
    should_stop: Callable[[], bool],
    time_limit_s: float = READ_TIME_LIMIT_S,
    now: Callable[[], float] = time.monotonic,
) -> Header:
    """Write the state to a file, all or nothing, and make it durable; say what it is of. Blocks.

    configuration: the group's first one, for a state in which none was applied yet. should_stop: asked at each block.
    Raises Unavailable when it was stopped, when the environment is being closed, and when the time is over: then it
    may be tried again. OSError.
    """
    beside = path.with_name(path.name + ".new")
    deadline = now() + time_limit_s
    try:
        with environment.read_at_length() as view, beside.open("wb") as file:
            applied = environment.applied_in(view)
            header = Header(
                applied.index,
                applied.term,
                applied.time_ns,
                view.count(),
                environment.configuration_in(view) or configuration,
            )
            for piece in encode(header, view.pairs()):
                if should_stop() or environment.is_closing:
                    raise Unavailable(f"the snapshot {path} was given up")
                if now() > deadline:
                    raise Unavailable(f"the snapshot {path} took longer than {time_limit_s:g} s")
                file.write(piece)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.rename(path)
        sync_folder(path.parent)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return header


def load_snapshot(path: Path, state: Path, *, map_size: int, should_stop: Callable[[], bool]) -> Header:
    """Build a state folder from a snapshot, durable, for Environment.replace(); say what it is of. Blocks.

    state: is made, and replaced if it is there; must not be in use. map_size: as of the environment it is for.
    should_stop: asked at each block. After an error there is no folder.
    Raises CorruptData, naming file and byte offset, VersionUnsupported, Unavailable when it was stopped, NoSpace,
    OSError.
    """
    shutil.rmtree(state, ignore_errors=True)
    try:
        with path.open("rb") as file:
            header = _load(Decoder(file.read), path, state, map_size, should_stop)
        sync_folder(state.parent)
    except BadSnapshot as error:
        shutil.rmtree(state, ignore_errors=True)
        raise CorruptData(f"the snapshot is damaged: {path}, byte {error.offset}: {error.why}") from error
    except NewerVersion as error:
        raise VersionUnsupported(_newer(str(path), error.version, VERSION)) from error
    except BaseException:
        shutil.rmtree(state, ignore_errors=True)
        raise
    return header


def _load(decoder: Decoder, path: Path, state: Path, map_size: int, should_stop: Callable[[], bool]) -> Header:
    header = decoder.header
    with StateBuilder(state, map_size=map_size) as builder:
        for pairs in decoder.pairs():
            if should_stop():
                raise Unavailable(f"loading the snapshot {path} was given up")
            builder.add(pairs)
        if (version := builder.format()) > keys.FORMAT:
            raise VersionUnsupported(_newer(f"the state in {path}", version, keys.FORMAT))
        if not builder.is_of(Applied(header.index, header.term, header.time_ns), header.configuration):
            raise BadSnapshot(0, "the header speaks of another entry or configuration than the pairs")
        builder.sync()
    return header


def _newer(what: str, version: int, known: int) -> str:
    return f"{what} is of version {version}; this version of curvefs-metaserver knows up to {known}"
