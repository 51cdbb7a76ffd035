"""The audit compares partial refunds with the payment and with the gateway's ledger, also while one
of them is being made.
"""

from uuid import UUID

import pytest
from django.conf import settings

from audit.run import audit
from sagas.ids import uuid7
from tests.integration.audit.harness import temporary_changes

pytestmark = pytest.mark.django_db(databases="__all__")

RETURN = uuid7()
OTHER = uuid7()

LINE = """
INSERT INTO payments_simulatedcharge (kind, key, order_id, charge_id, amount, currency)
SELECT 'refund', 'refund-part-{saga}{successor}', order_id, charge_id, {amount}, currency
  FROM payments_payment WHERE order_id = %(order)s
"""
PART = """
INSERT INTO payments_partialrefund
       (id, order_id, asked_amount, amount, refunded_amount, covered_amount, currency, status, key)
VALUES ('{saga}', %(order)s, 300, 300, {refunded}, {covered}, 'eur', '{status}',
        'refund-part-{saga}')
"""
TOTAL = "UPDATE payments_payment SET refunded_amount = {amount} WHERE order_id = %(order)s"
STEP = """
INSERT INTO payments_inbox (saga, saga_started_at, step, state, attempts, message, error)
VALUES ('{saga}', now(), 'payments.refund_part', '{state}', 1, '{{}}', '')
"""


def line(amount: int = 300, *, saga: UUID = RETURN, successor: str = "") -> str:
    """Return a statement that gives money back at the gateway."""
    return LINE.format(saga=saga, amount=amount, successor=successor)


def part(status: str, refunded: int = 0, covered: int = 0) -> str:
    """Return a statement that writes the refund of a part of 3.00 euros."""
    return PART.format(saga=RETURN, status=status, refunded=refunded, covered=covered)


def total(amount: int) -> str:
    """Return a statement that writes the sum of all refunds of the payment."""
    return TOTAL.format(amount=amount)


def step(state: str) -> str:
    """Return a statement that writes the step of the saga in a state."""
    return STEP.format(saga=RETURN, state=state)


def violations() -> dict[str, list[str]]:
    """Return what the audit finds, by invariant."""
    return {
        verdict.invariant.id: [found.detail for found in verdict.shown]
        for verdict in audit(limit=100).verdicts
        if verdict.shown and verdict.invariant.id in {"I3", "I4", "I5", "I14"}
    }


GIVEN_BACK = (part("succeeded", 300), line(), total(300))


@pytest.mark.parametrize(
    "changes",
    [
        GIVEN_BACK,
        (part("succeeded", 300), line(successor="-2"), total(300)),
        (part("succeeded", 0, 300), total(0)),
        (part("failed", 0), total(0)),
        (part("failed", 0), line(successor="-2")),
        (part("pending"), step("started")),
        (part("pending"), step("waiting"), line()),
        (part("pending"), step("waiting"), line(), total(300)),
    ],
    ids=[
        "done",
        "under a successor",
        "covered",
        "failed",
        "repeated",
        "asked",
        "not recorded",
        "total only",
    ],
)
def test_a_part_whose_money_is_explained_is_no_violation(orders, changes: tuple[str, ...]) -> None:
    with temporary_changes("payments", *changes, order=orders.fulfilled):
        assert violations() == {}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (
            (part("succeeded", 300), total(300)),
            {"I3": "4300 kept, expected 4000", "I5": "300 eur given back for saga"},
        ),
        (
            (line(), total(300)),
            {"I5": "300 eur given back under refund-part-"},
        ),
        (
            (*GIVEN_BACK, line(saga=OTHER), total(600)),
            {"I5": f"300 eur given back under refund-part-{OTHER}"},
        ),
        (
            (part("succeeded", 200), line(200), total(200)),
            {"I5": "has succeeded, but not as a whole"},
        ),
        (
            (part("succeeded", 300), line(), total(0)),
            {"I5": "300 given back by partial refunds, but 0 by all refunds"},
        ),
        (
            (part("pending"), step("waiting"), line(), line(100, saga=OTHER)),
            {"I3": "100 refunded at the gateway, which payments has not recorded"},
        ),
        (
            (part("pending"), step("done")),
            {"I14": "its refund of 300 eur is pending, but no step makes it"},
        ),
        ((part("pending"),), {"I14": "its refund of 300 eur is pending, but no step makes it"}),
    ],
)
def test_a_part_whose_money_is_not_explained_is_a_violation(
    orders, changes: tuple[str, ...], found: dict[str, str]
) -> None:
    with temporary_changes("payments", *changes, order=orders.fulfilled):
        shown = violations()
    for invariant, text in found.items():
        assert any(text in detail for detail in shown[invariant]), shown


def test_a_gateway_that_is_not_asked_is_replaced_by_the_rows_of_the_parts(
    orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "UPDATE payments_payment SET gateway = 'stripe' WHERE order_id = %(order)s"
    gone = "DELETE FROM payments_simulatedcharge WHERE order_id = %(order)s"
    with temporary_changes("payments", *GIVEN_BACK, other, gone, order=orders.fulfilled):
        assert settings.PAYMENT_GATEWAY == "simulated"
        found = audit(limit=100, ask_gateway=False).verdicts
        assert not [each for verdict in found for each in verdict.shown]
