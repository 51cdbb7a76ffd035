"""How every process logs: JSON, one object a line, or for a terminal; each line with the ids of
what it is about.
"""

import logging.config
from typing import Any

import structlog
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from gunicorn import glogging
from structlog.types import EventDict, Processor, WrappedLogger

__all__ = ["FORMATS", "GunicornLogger", "logging_config"]

FORMATS = ("json", "console")

# Only these of a record's extra fields: others hold requests and arguments of tasks whole.
EXTRA = ("status_code", "method", "path", "status", "duration_ms", "remote_addr", "request_id")


def logging_config(*, level: str, style: str) -> dict[str, Any]:
    """Return Django's LOGGING: one handler for all loggers, to standard error, at `level` and
    above.

    `style` is one of `FORMATS`. Celery's workers and beat log by this as well, whatever
    `--loglevel` says. Raises ImproperlyConfigured.
    """
    if style not in FORMATS:
        raise ImproperlyConfigured(f"LOG_FORMAT is {style!r}; it is one of: {', '.join(FORMATS)}.")
    if level not in logging.getLevelNamesMapping():
        raise ImproperlyConfigured(
            f"LOG_LEVEL is {level!r}; it is one of: DEBUG, INFO, WARNING, ERROR, CRITICAL."
        )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"structured": {"()": _formatter, "style": style}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Django's own handlers and levels give way: one line for each event.
            "django": {"handlers": [], "level": "NOTSET"},
            "django.server": {"handlers": [], "level": "NOTSET", "propagate": True},
        },
    }


class GunicornLogger(glogging.Logger):
    """Gunicorn's own lines and the access log, by the project's LOGGING. No header, query or
    body is logged.
    """

    def setup(self, cfg: Any) -> None:
        """Send both loggers to the project's handler; where to is its matter, whether to log
        access Gunicorn's.
        """
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            log.handlers.clear()
            log.propagate = True
        logging.config.dictConfig(settings.LOGGING)

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: Any) -> None:
        """Log one line for a request that was answered."""
        if not self._access_log_enabled:
            return
        fields = {
            "method": environ.get("REQUEST_METHOD"),
            "path": environ.get("PATH_INFO"),
            "status": int(str(resp.status).split(maxsplit=1)[0]),
            "duration_ms": round(request_time.total_seconds() * 1000, 1),
            "remote_addr": environ.get("REMOTE_ADDR"),
            "request_id": next(
                (value for name, value in resp.headers if name.lower() == "x-request-id"), None
            ),
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
    plain = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if style == "console":
        return [
            plain,
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ]
    # Tracebacks as text: frames with their variables would show what must not be in a log.
    return [plain, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _name_ids(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Name what the engine bound (`sagas.observability.instrumentation`) as people search for
    it; a saga's id is its order's.
    """
    for bound, name in (("sagas", "order_id"), ("request_ids", "request_id")):
        ids = event.pop(bound, ())
        if len(ids) == 1:
            event[name] = ids[0]
        elif ids:
            event[f"{name}s"] = ids
    return event
