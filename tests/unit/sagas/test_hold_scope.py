"""The names that a destination may have."""

import pytest

from sagas.definition.hold_scope import (
    MOST_CHARACTERS_OF_DESTINATION,
    HoldScope,
    WrongDestination,
    check_destination,
)


@pytest.mark.parametrize(
    "name",
    ["stripe", "bank/merchant-7", "Bank of Šiauliai", "x" * MOST_CHARACTERS_OF_DESTINATION],
)
def test_a_printable_name_may_be_a_destination(name):
    check_destination(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is empty"),
        ("x" * 151, "has 151 characters, but may have at most 150"),
        (" stripe", "begins or ends with a blank"),
        ("stripe ", "begins or ends with a blank"),
        ("a\0b", r"characters that cannot be printed: 'a\\x00b'"),
        ("acct_\ud800", r"characters that cannot be printed: 'acct_\\ud800'"),
        ("a\nb", "characters that cannot be printed"),
        ("\u00a0stripe", "characters that cannot be printed"),
    ],
)
def test_any_other_name_is_wrong(name, reason):
    with pytest.raises(WrongDestination, match=reason) as raised:
        check_destination(name)

    str(raised.value).encode()


def test_a_wrong_destination_is_a_wrong_value():
    assert issubclass(WrongDestination, ValueError)


def test_a_scope_reads_as_its_step_and_destination():
    assert str(HoldScope("payments.charge")) == "payments.charge"
    assert str(HoldScope("payments.charge", "stripe")) == "payments.charge to stripe"
