"""The types of events: which end a saga's step, and which are for the timeline only."""

from typing import ClassVar

from sagas.definition import events
from sagas.definition.events import Notice, Refusal


def test_a_type_counts_from_the_declaration_of_its_event_on():
    assert not events.is_notice("kiln.fired")
    assert not events.is_refusal("kiln.cold")

    class KilnFired(Notice, frozen=True, kw_only=True):
        type: ClassVar[str] = "kiln.fired"

    class KilnCold(Refusal, frozen=True, kw_only=True):
        type: ClassVar[str] = "kiln.cold"

    assert events.is_notice("kiln.fired")
    assert not events.is_notice("kiln.cold")
    assert events.is_refusal("kiln.cold")
    assert KilnFired.type in events.notice_types()
    assert KilnCold.type not in events.notice_types()
