"""Idempotency keys behave as Stripe documents: the first answer is stored and replayed."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import stripe

from tests.processes import until
from tests.sandbox.process import Sandbox, headers

REPLAYED = "Idempotent-Replayed"


def test_the_same_request_gets_the_same_answer_and_charges_once(sandbox: Sandbox) -> None:
    first = sandbox.charge(key="once", metadata={"order_id": "o-once"})
    again = sandbox.charge(key="once", metadata={"order_id": "o-once"})
    assert REPLAYED not in headers(first)
    assert headers(again)[REPLAYED] == "true"
    assert (
        headers(again)["Original-Request"]
        == headers(first)["Request-Id"]
        != headers(again)["Request-Id"]
    )
    assert again.last_response.body == first.last_response.body
    assert len([entry for entry in sandbox.ledger() if entry["order_id"] == "o-once"]) == 1


def test_a_decline_is_stored_like_any_other_answer(sandbox: Sandbox) -> None:
    errors = []
    for _ in range(2):
        with pytest.raises(stripe.CardError) as declined:
            sandbox.charge("pm_card_chargeDeclined", key="declined")

        errors.append(declined.value)

    assert errors[0].http_body == errors[1].http_body
    assert headers(errors[1])[REPLAYED] == "true"


def test_an_executed_refusal_is_replayed_even_if_its_cause_is_gone(
    sandbox: Sandbox,
) -> None:
    intent = sandbox.charge("pm_sim_processing")
    for _ in range(2):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            sandbox.client.v1.refunds.create(
                {"payment_intent": intent.id}, {"idempotency_key": "too early"}
            )

        sandbox.control(f"settle/{intent.id}", outcome="succeeded")

    assert headers(refused.value)[REPLAYED] == "true"


def test_a_request_that_did_not_execute_leaves_its_key_free(sandbox: Sandbox) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        sandbox.create(key="mistyped", amount="x")
    assert REPLAYED not in headers(sandbox.create(key="mistyped"))


@pytest.mark.parametrize(
    "change", [{"amount": 1251}, {"metadata": {"order_id": "o-2"}}, {"confirm": True}]
)
def test_a_different_request_with_the_same_key_is_refused(
    sandbox: Sandbox, change: dict[str, Any]
) -> None:
    key = f"bound {change}"
    sandbox.create(key=key)
    with pytest.raises(stripe.IdempotencyError) as refused:
        sandbox.create(key=key, **change)

    assert (refused.value.http_status, refused.value.error and refused.value.error.type) == (
        400,
        "idempotency_error",
    )


def test_a_key_belongs_to_one_endpoint_and_one_object(sandbox: Sandbox) -> None:
    first, other = sandbox.create(), sandbox.create()
    sandbox.client.v1.payment_intents.cancel(first.id, options={"idempotency_key": "first"})

    for method in (
        sandbox.client.v1.payment_intents.confirm,
        sandbox.client.v1.payment_intents.cancel,
    ):
        with pytest.raises(stripe.IdempotencyError):
            method(other.id, options={"idempotency_key": "first"})


def test_a_key_in_use_is_a_conflict_and_free_again_afterwards(sandbox: Sandbox) -> None:
    sandbox.fault("payment_intents.create", "slow", seconds=5)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(lambda: sandbox.charge(key="slow"))
        rule = lambda: sandbox.http.get("/sandbox/faults").json()["data"][0]  # noqa: E731
        until(lambda: rule()["struck"] == 1, "the slow request has arrived")
        with pytest.raises(stripe.APIError) as conflict:
            sandbox.charge(key="slow")

        assert conflict.value.http_status == 409
        assert conflict.value.error
        assert conflict.value.error.code == "idempotency_key_in_use"

    again = sandbox.charge(key="slow")
    assert again.id == slow.result().id
    assert headers(again)[REPLAYED] == "true"


def test_fifty_concurrent_requests_with_one_key_charge_once(sandbox: Sandbox) -> None:
    def charge(_: int) -> str | None:
        try:
            return str(sandbox.charge(key="concurrent", metadata={"order_id": "o-concurrent"}).id)
        except stripe.APIError as error:
            if error.error is None or error.error.code != "idempotency_key_in_use":
                raise
            return None

    with ThreadPoolExecutor(50) as pool:
        ids = set(pool.map(charge, range(50))) - {None}

    assert len(ids) == 1
    assert len([entry for entry in sandbox.ledger() if entry["order_id"] == "o-concurrent"]) == 1


def test_a_key_expires_after_a_day(sandbox: Sandbox) -> None:
    first = sandbox.create(key="old")
    sandbox.control("clock", advance=24 * 3600 - 60)
    assert sandbox.create(key="old").id == first.id
    sandbox.control("clock", advance=61)
    assert sandbox.create(key="old").id != first.id


def test_a_key_has_at_most_255_characters(sandbox: Sandbox) -> None:
    sandbox.create(key="k" * 255)
    with pytest.raises(stripe.InvalidRequestError):
        sandbox.create(key="k" * 256)
