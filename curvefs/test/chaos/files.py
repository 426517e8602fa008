"""Histories as files: one line of JSON per call."""

import json
from dataclasses import fields

from curvefs.test.linearizability import operations
from curvefs.test.linearizability.history import UNKNOWN, Call
from curvefs.test.linearizability.operations import Flag


def save(path, calls):
    """Write a history, in the order of beginnings."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for call in sorted(calls, key=lambda call: call.began):
            operation = {field.name: getattr(call.operation, field.name) for field in fields(call.operation)}
            if "flag" in operation:
                operation["flag"] = operation["flag"].name
            record = {
                "client": call.client,
                "id": call.id,
                "kind": type(call.operation).__name__,
                "operation": operation,
                "began": call.began,
                "ended": call.ended,
                "answer": None if call.answer is UNKNOWN else _listed(call.answer),
            }
            file.write(json.dumps(record) + "\n")


def load(path):
    """Read a history."""
    with path.open() as file:
        return [_call(json.loads(line)) for line in file]


def _listed(answer):
    if isinstance(answer, str):
        return answer
    return [sorted(one) if isinstance(one, frozenset) else one for one in answer]


def _call(record):
    operation = record["operation"]
    if "flag" in operation:
        operation["flag"] = Flag[operation["flag"]]
    answer = record["answer"]
    if isinstance(answer, list):
        answer = tuple(frozenset(one) if isinstance(one, list) else one for one in answer)
    return Call(
        record["client"],
        record["id"],
        getattr(operations, record["kind"])(**operation),
        record["began"],
        record["ended"],
        UNKNOWN if answer is None else answer,
    )
