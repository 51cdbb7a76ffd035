"""The log format of every process: one JSON object a line, or text for a terminal.

Each line has the ids of its order and request.
"""

import logging.config
from typing import Any

import structlog
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from gunicorn import glogging
from structlog.types import EventDict, Processor, WrappedLogger

from sagas.observability.database_errors import hide_contents

__all__ = ["FORMATS", "GunicornLogger", "logging_config"]

FORMATS = ("json", "console")

# The extra fields that are logged. Others contain whole requests and the arguments of tasks.
EXTRA = ("status_code", "method", "path", "status", "duration_ms", "remote_addr", "request_id")


def logging_config(*, level: str, style: str) -> dict[str, Any]:
    """Return Django's LOGGING: all loggers write to standard error, at `level` and above.

    `style` is one of `FORMATS`. Celery's workers and beat use it too, and ignore `--loglevel`.
    Raises ImproperlyConfigured.
    """
    if style not in FORMATS:
        raise ImproperlyConfigured(
            f"LOG_FORMAT is {style!r}. It must be one of: {', '.join(FORMATS)}."
        )
    if level not in logging.getLevelNamesMapping():
        raise ImproperlyConfigured(
            f"LOG_LEVEL is {level!r}. It must be one of: DEBUG, INFO, WARNING, ERROR, CRITICAL."
        )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"structured": {"()": _formatter, "style": style}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Without Django's own handlers, so that each event is logged once.
            "django": {"handlers": [], "level": "NOTSET"},
            "django.server": {"handlers": [], "level": "NOTSET", "propagate": True},
        },
    }


class GunicornLogger(glogging.Logger):
    """Gunicorn's log and access log, in the project's format.

    It logs no header, query or body.
    """

    def setup(self, cfg: Any) -> None:
        """Send both logs to the project's handler. Gunicorn still decides whether to log access."""
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            log.handlers.clear()
            log.propagate = True
        logging.config.dictConfig(settings.LOGGING)

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: Any) -> None:
        """Log one line for an answered request."""
        if not self._access_log_enabled:
            return

        request_ids = (value for name, value in resp.headers if name.lower() == "x-request-id")
        fields = {
            "method": environ.get("REQUEST_METHOD"),
            "path": environ.get("PATH_INFO"),
            "status": int(str(resp.status).split(maxsplit=1)[0]),
            "duration_ms": round(request_time.total_seconds() * 1000, 1),
            "remote_addr": environ.get("REMOTE_ADDR"),
            "request_id": next(request_ids, None),
        }
        self.access_log.info("%(method)s %(path)s %(status)s", fields, extra=fields)


def _formatter(style: str) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_common(), processors=_rendering(style)
    )


def _common() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        _name_ids,
        structlog.stdlib.ExtraAdder(allow=EXTRA),
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.CallsiteParameterAdder(
            {structlog.processors.CallsiteParameter.PROCESS}
        ),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _rendering(style: str) -> list[Processor]:
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    before = [remove_meta, _hide_contents]
    if style == "console":
        tracebacks = structlog.dev.plain_traceback
        return [*before, structlog.dev.ConsoleRenderer(exception_formatter=tracebacks)]

    # Tracebacks as text, because frames with local variables would put secrets into the log.
    return [*before, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _hide_contents(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Keep the contents of rows out of the traceback of an error that came with a commit."""
    found = event.get("exc_info")
    hide_contents(found[1] if isinstance(found, tuple) else None)
    return event


def _name_ids(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Rename the engine's `sagas` to `order_id(s)`, because a saga's id is its order's.

    `sagas.observability.instrumentation` binds these ids.
    """
    for bound, name in (("sagas", "order_id"), ("request_ids", "request_id")):
        ids = event.pop(bound, ())
        if len(ids) == 1:
            event[name] = ids[0]
        elif ids:
            event[f"{name}s"] = ids
    return event
