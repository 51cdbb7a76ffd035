"""The replacement of a person in texts and documents."""

import pytest

from privacy.scrubbing import FORGOTTEN, Scrubber


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no answer to ada", f"no answer to {FORGOTTEN}"),
        ("Ada@Example.org wrote", f"{FORGOTTEN} wrote"),
        ("<ada@example.org>, ada.", f"<{FORGOTTEN}>, {FORGOTTEN}."),
        ("canada and ada-2 and ada_b", "canada and ada-2 and ada_b"),
        ("pm_1 (pm_1)", f"{FORGOTTEN} ({FORGOTTEN})"),
        ("pm_12", "pm_12"),
    ],
)
def test_words_are_replaced_where_they_stand_alone(text, expected):
    assert Scrubber(["ada", "ada@example.org", "pm_1", ""]).text(text) == expected


def test_a_person_without_words_changes_no_text():
    assert Scrubber(["", FORGOTTEN]).text("a text") == "a text"


def test_codes_stay_for_a_person_with_the_name_of_a_code():
    document = {
        "currency": "eur",
        "lines": [{"sku": "MUG", "quantity": 2}],
        "plan": {"steps": ["eur", {"name": "MUG"}]},
        "failure": {"code": "MUG", "detail": "MUG wants eur"},
        "payment_method": "MUG",
        "results": {"trips.quote": {"note": "for MUG", "payment_method": "pm"}},
        "idempotency_key": "k",
        "url": "https://pay/1",
    }
    assert Scrubber(["eur", "MUG"]).document(document) == {
        "currency": "eur",
        "lines": [{"sku": "MUG", "quantity": 2}],
        "plan": {"steps": ["eur", {"name": "MUG"}]},
        "failure": {"code": "MUG", "detail": f"{FORGOTTEN} wants {FORGOTTEN}"},
        "payment_method": FORGOTTEN,
        "results": {
            "trips.quote": {"note": f"for {FORGOTTEN}", "payment_method": FORGOTTEN},
        },
    }


def test_a_document_is_the_same_after_a_second_time():
    scrubber = Scrubber(["ada"])
    once = scrubber.document({"deep": [{"text": "ada"}], "payment_method": "pm_1"})
    assert scrubber.document(once) == once
