"""Events with a name and fields: what a process tells about itself while it runs.

The library only ever *tells* (through the standard `logging`, whose owner is the user's
application); only our own entry points decide where that goes, by `set_up`. So importing
Sagacity never changes a host's logging. A line that is logged while a step runs says of which saga, step and
attempt it is.
"""

import json
import logging
import sys
import traceback
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Literal, TextIO

from sagacity.model.unit import NO_LINE, Notice
from sagacity.telemetry.doing import DOING, traceparent

__all__ = ["EVENTS", "LOGGER", "REHEARSING", "on_notice", "set_up", "tell", "traced", "traceparent"]

LOGGER = "sagacity"

EVENTS: Mapping[str, str] = MappingProxyType(
    {
        "saga.committed": "a saga ended: everything happened",
        "saga.rolled_back": "a saga ended: everything was made good",
        "saga.abandoned": "a saga ended: an operator left its effects standing",
        "saga.stuck": "nothing moves this saga by itself: an operator must",
        "saga.fault": "a fault of the flow's code, or ours, made a saga stuck; its trace stands beside",
        "saga.interrupted": "the database went away under this saga; it is claimed again",
        "saga.lost": "another worker has this saga by now; what this one had is dropped",
        "version.unserved": "sagas of this version could go on, and no live worker runs it",
        "rows.busy": "a row of the user's tables is held by somebody else; the commit that needs it waits",
        "listener.failed": "a listener raised; it is told again",
        "notify.failed": "the web hook's receiver did not take a message; it is sent again",
        "anchor.failed": "an anchor could not be sent; the next round sends it",
        "history.lost": "the store is behind its newest anchor, and was told to go on all the same",
        "worker.started": "a worker claims sagas from now on",
        "worker.watched": "a worker's metrics, health and readiness are served",
        "worker.stopping": "a worker was told to end: no new claims",
        "worker.stopped": "a worker ended; nothing is in flight",
        "worker.left_behind": "something did not end when it was told to; it is fenced and left behind",
        "worker.restarted": "a worker process died and was started again",
        "server.started": "the HTTP API listens",
        "server.stopped": "the HTTP API is closed",
        "secrets.shown": "an admin asked to see what is marked secret, and was shown it",
        "fault": "a fault of ours; the trace stands beside it",
    }
)
"""Every event that the edges tell, and what it means; the engine's own modules add theirs by name."""

_LEVELS = {
    "saga.stuck": logging.WARNING,
    "saga.attention": logging.WARNING,
    "saga.fault": logging.ERROR,
    "saga.interrupted": logging.WARNING,
    "version.unserved": logging.WARNING,
    "rows.busy": logging.WARNING,
    "listener.failed": logging.ERROR,
    "notify.failed": logging.WARNING,
    "worker.left_behind": logging.ERROR,
    "worker.restarted": logging.WARNING,
    "secrets.shown": logging.WARNING,
    "fault": logging.ERROR,
}
_TRACE = 8_000


REHEARSING: ContextVar[bool] = ContextVar("sagacity rehearses", default=False)
"""Set inside of a dry run: what is told there is stamped, and wakes nobody."""


def tell(event: str, **fields: Any) -> None:
    """Tell that `event` happened; costs little when nobody listens."""
    level = _LEVELS.get(event, logging.INFO)
    if REHEARSING.get():
        level, fields = logging.DEBUG, {"lane": "dry", **fields}
    logger = logging.getLogger(LOGGER)
    if logger.isEnabledFor(level):
        logger.log(level, event, extra={"fields": fields})


def traced(error: BaseException) -> str:
    """The end of an error's trace as plain text.

    Text and not the error itself: what a host's formatter makes of a live trace may take longer than a lease.
    """
    return "".join(traceback.format_exception(error))[-_TRACE:]


def on_notice(notice: Notice) -> None:
    """Listener for the notification outlet: each notice becomes one structured line."""
    fields = {"saga": str(notice.saga)} | ({} if notice.seq == NO_LINE else {"seq": notice.seq})
    content = json.loads(notice.data)
    fields |= {k: v for k, v in content.items() if k not in fields} if isinstance(content, dict) else {}
    tell(f"saga.{notice.kind}", **fields)


def set_up(
    *,
    level: str = "info",
    form: Literal["auto", "json", "text"] = "auto",
    stream: TextIO | None = None,
) -> None:
    """Send everything that is told to `stream` (stderr), one line an event. For entry points only."""
    import structlog

    out = stream if stream is not None else sys.stderr
    as_json = form == "json" or (form == "auto" and not out.isatty())
    renderer: Any = (
        structlog.processors.JSONRenderer(default=str)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=out.isatty())
    )
    last = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
    handler = logging.StreamHandler(out)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_described(), processors=last))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(LOGGER).setLevel(level.upper())
    # What tells through structlog itself takes the same way out; left alone it would write to stdout.
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_described(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _described() -> list[Any]:
    """What every event is told with: level, logger, time, fields, trace."""
    import structlog

    return [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _of_attempt,
        _spread,
        structlog.processors.format_exc_info,
    ]


def _of_attempt(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    """Whatever is logged by a step's own code says whose it is: saga, step and attempt."""
    doing = DOING.get()
    return event if doing is None else {**doing.fields, **event}


def _spread(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    """The fields of `tell` as fields of the line."""
    record = event.get("_record")
    fields = getattr(record, "fields", None)
    if isinstance(fields, dict):
        return {**fields, **event}
    return event
