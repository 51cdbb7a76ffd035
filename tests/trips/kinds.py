"""The description of a trip. A cruise has the defaults of the engine."""

from collections.abc import Iterable, Sequence
from typing import Any

from sagas.definition.events import Refusal
from sagas.kinds import Fact, Money, SagaKind, SagaRecord, register

from .models import Effect, Trip
from .steps import CalledOff


@register(Trip)
class TripKind(SagaKind):
    def facts(self, row: Any) -> Sequence[Fact]:
        return [Fact("Events", str(row.followed)), Fact("Fare", Money(4_200, "eur"))]

    def cancellation(self, row: Any) -> Refusal | None:
        return None if row.ended_at else CalledOff()

    def violations(self, record: SagaRecord) -> Iterable[str]:
        """A trip has an effect of each step that is done."""
        effects = set(Effect.objects.filter(trip=record.row.pk).values_list("step", flat=True))
        for step, state in record.steps.items():
            if state == "done" and step not in effects:
                yield f"{step} is done, but had no effect"
