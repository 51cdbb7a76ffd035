"""Sagas for Django and Celery: declare a saga, register its steps, start it and cancel it.

    from sagas import Delivery, Event, Refusal, Saga, Step, action, cancel, start, undo

These names are loaded when they are used, because Django imports this package before the models of
its apps are ready. The other public modules are `sagas.outcomes`, `sagas.models`, `sagas.queries`,
`sagas.control`, `sagas.kinds`, `sagas.waits`, `sagas.services`, `sagas.workers`, `sagas.celery`,
`sagas.testing` and `sagas.contrib`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sagas.children import child
    from sagas.definition.children import Child
    from sagas.definition.events import Event, Refusal
    from sagas.definition.handlers import (
        AsyncExternalStep,
        Batch,
        Delivery,
        ExternalStep,
        action,
        bar,
        undo,
        wait,
    )
    from sagas.definition.limits import Limit
    from sagas.definition.plan import Parallel, Saga, Step, Wait
    from sagas.definition.policy import Backoff
    from sagas.definition.results import From
    from sagas.definition.timers import Timer, timer
    from sagas.lifecycle import CancelResult
    from sagas.tracked import cancel, start
    from sagas.waits import SignalResult, signal

__all__ = [
    "AsyncExternalStep",
    "Backoff",
    "Batch",
    "CancelResult",
    "Child",
    "Delivery",
    "Event",
    "ExternalStep",
    "From",
    "Limit",
    "Parallel",
    "Refusal",
    "Saga",
    "SignalResult",
    "Step",
    "Timer",
    "Wait",
    "action",
    "bar",
    "cancel",
    "child",
    "signal",
    "start",
    "timer",
    "undo",
    "wait",
]

_MODULES = {
    "sagas.children": ("child",),
    "sagas.definition.children": ("Child",),
    "sagas.definition.events": ("Event", "Refusal"),
    "sagas.definition.handlers": (
        "AsyncExternalStep",
        "Batch",
        "Delivery",
        "ExternalStep",
        "action",
        "bar",
        "undo",
        "wait",
    ),
    "sagas.definition.limits": ("Limit",),
    "sagas.definition.plan": ("Parallel", "Saga", "Step", "Wait"),
    "sagas.definition.policy": ("Backoff",),
    "sagas.definition.results": ("From",),
    "sagas.definition.timers": ("Timer", "timer"),
    "sagas.tracked": ("cancel", "start"),
    "sagas.waits": ("SignalResult", "signal"),
    "sagas.lifecycle": ("CancelResult",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
