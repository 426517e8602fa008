"""Structured logs on standard error: one line an event, `event key=value ...`, or JSON.

Every module takes its logger from ``structlog.get_logger()``; programs call configure() once. Secrets are never
passed to a logger: messages carry names of things, not requests. What cannot be written, because the disk of the logs
is full or nobody reads them any more, is left out: no work fails for it.
"""

import contextlib
import logging
import sys
from typing import TextIO

import structlog


class _Sink:
    """A stream whose failures are no errors."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, message: str) -> None:
        """Write a line, if it can be written."""
        with contextlib.suppress(OSError, ValueError):  # ValueError: it is closed
            print(message, file=self._stream, flush=True)

    debug = info = warning = error = critical = exception = log = msg


def configure(*, json: bool = False, level: str = "info", program: str = "") -> None:
    """Set up logging for this process.

    level: debug, info, warning or error. program: bound to every line.
    """
    threshold = getattr(logging, level.upper())
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), sort_keys=False, pad_event_to=0)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: _Sink(sys.stderr),
        cache_logger_on_first_use=True,
    )
    if program:
        structlog.contextvars.bind_contextvars(program=program)
