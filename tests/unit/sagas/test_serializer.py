"""Our JSON and kombu's JSON can read each other."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from django.utils.translation import gettext_lazy
from kombu.serialization import dumps, loads
from kombu.utils import json

from sagas.celery import serializer

PLAIN = [
    ["payments.charge", {"saga": "place_order"}, [{"seq": 1, "context": {"é": None, "rate": 1.5}}]],
    {},
    {},
]
TYPED = {
    "at": datetime(2026, 1, 2, tzinfo=UTC),
    "id": UUID("01890a5d-ac96-774b-bcce-b302099a8057"),
    "much": Decimal("1.10"),
}


def test_plain_data_is_read_back_by_either_serializer():
    text = serializer.encode(PLAIN)
    assert serializer.decode(text) == json.loads(text) == PLAIN
    assert serializer.decode(text.encode()) == PLAIN


def test_types_that_kombu_marks_are_restored():
    assert serializer.decode(json.dumps(TYPED)) == TYPED


def test_invalid_json_raises_the_error_of_kombu():
    with pytest.raises(ValueError, match="Expecting value"):
        serializer.decode("no json")


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        TYPED,
        {**TYPED, "shown": gettext_lazy("Lost")},
        [gettext_lazy("Lost")],
        [10**30, -0.0],
    ],
)
def test_a_lasting_text_is_the_same_before_and_after_a_message_travels(data):
    received = serializer.decode(serializer.encode(data))
    assert serializer.lasting_text(received) == serializer.lasting_text(data)


def test_celery_uses_it_with_the_same_content_type():
    content_type, encoding, text = dumps(PLAIN, serializer="json")
    assert (content_type, encoding) == ("application/json", "utf-8")
    assert loads(text, content_type, encoding) == PLAIN
    assert text == serializer.encode(PLAIN)
