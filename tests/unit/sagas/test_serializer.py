"""The broker's JSON: whatever kombu sends is understood, and what we send kombu understands."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
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


def test_plain_data_comes_back_as_it_was_whoever_reads_it():
    text = serializer.encode(PLAIN)
    assert serializer.decode(text) == json.loads(text) == PLAIN
    assert serializer.decode(text.encode()) == PLAIN


def test_what_kombu_marks_as_of_another_type_comes_back_as_that_type():
    assert serializer.decode(json.dumps(TYPED)) == TYPED


def test_what_is_no_json_is_refused_as_kombu_refuses_it():
    with pytest.raises(ValueError, match="Expecting value"):
        serializer.decode("no json")


def test_it_is_what_celery_uses_and_the_content_type_stays():
    content_type, encoding, text = dumps(PLAIN, serializer="json")
    assert (content_type, encoding) == ("application/json", "utf-8")
    assert loads(text, content_type, encoding) == PLAIN
    assert text == serializer.encode(PLAIN)
