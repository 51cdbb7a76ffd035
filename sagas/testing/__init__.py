"""Test a saga: its stories in the process of the test, and its crashes in real processes.

    story(PLACE, start).when("stock.reserve").refuses().run().expect(ended="cancelled")

    @pytest.mark.parametrize("crash", crashes(PLACE), ids=str)
    def test_the_saga_survives(crash, saga_workers):
        saga_workers.survive(crash, start)

A story runs the real steps on real PostgreSQL, without a broker and without a worker. The proof of
`crashes` runs real workers; its fixture `saga_workers` is in the pytest plugin
`sagas.testing.plugin`. The names of this package are loaded when they are used, because pytest
loads the plugin before Django is set up.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sagas.delivery.admission import suspended as suspended_delivery
    from sagas.failpoints import Action
    from sagas.testing.crash_points import Crash, crashes
    from sagas.testing.external_contract import Case, ExternalStepContract
    from sagas.testing.stories import Story, story
    from sagas.testing.workers import SagaWorkers

__all__ = [
    "Action",
    "Case",
    "Crash",
    "ExternalStepContract",
    "SagaWorkers",
    "Story",
    "crashes",
    "story",
    "suspended_delivery",
]

_PLACES = {
    "Action": "sagas.failpoints:Action",
    "Case": "sagas.testing.external_contract:Case",
    "Crash": "sagas.testing.crash_points:Crash",
    "ExternalStepContract": "sagas.testing.external_contract:ExternalStepContract",
    "SagaWorkers": "sagas.testing.workers:SagaWorkers",
    "Story": "sagas.testing.stories:Story",
    "crashes": "sagas.testing.crash_points:crashes",
    "story": "sagas.testing.stories:story",
    "suspended_delivery": "sagas.delivery.admission:suspended",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _PLACES[name].partition(":")
    return getattr(import_module(module), attribute)
