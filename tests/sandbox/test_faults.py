"""Injected faults: the ledger shows whether the call was executed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import stripe

from tests.processes import until
from tests.sandbox.process import Sandbox, headers


def captured(sandbox: Sandbox, order: str) -> int:
    """Return the number of charges of an order."""
    return len(
        [
            entry
            for entry in sandbox.ledger()
            if (entry["kind"], entry["order_id"]) == ("capture", order)
        ]
    )


def charge(
    sandbox: Sandbox, order: str, method: str = "pm_card_visa", *, confirm: bool = True
) -> Any:
    """Charge an order under its own key."""
    return sandbox.create(method, key=order, metadata={"order_id": order}, confirm=confirm)


def wait_for_capture(sandbox: Sandbox, order: str, times: int) -> None:
    """Wait for the charges of an order. A client may time out before the sandbox is done."""
    until(lambda: captured(sandbox, order) == times, f"{order} is charged {times} times")


@contextmanager
def impatient(sandbox: Sandbox) -> Iterator[None]:
    """Use a client with a short timeout while the context lasts."""
    patient, sandbox.client = sandbox.client, sandbox.stripe_client(timeout=2)
    try:
        yield
    finally:
        sandbox.client = patient


LOST_CONNECTION = stripe.APIConnectionError
FAULTS: dict[str, tuple[type[stripe.StripeError], int | None, int]] = {
    "timeout_lost": (LOST_CONNECTION, None, 0),
    "timeout_done": (LOST_CONNECTION, None, 1),
    "reset_lost": (LOST_CONNECTION, None, 0),
    "reset_done": (LOST_CONNECTION, None, 1),
    "500_lost": (stripe.APIError, 500, 0),
    "500_done": (stripe.APIError, 500, 1),
    "429": (stripe.RateLimitError, 429, 0),
    "409": (stripe.APIError, 409, 0),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_loses_the_answer_or_the_work_once(sandbox: Sandbox, fault: str) -> None:
    error, status, done = FAULTS[fault]
    order = f"o-{fault}"
    sandbox.fault("payment_intents.create", fault)
    with impatient(sandbox), pytest.raises(error) as failed:
        charge(sandbox, order)

    assert failed.value.http_status == status
    wait_for_capture(sandbox, order, done)

    if fault == "500_done":  # Stripe stores a 500 like any other answer
        with pytest.raises(stripe.APIError) as again:
            charge(sandbox, order)

        assert again.value.http_body == failed.value.http_body
        assert headers(again.value)["Idempotent-Replayed"] == "true"
    else:
        assert charge(sandbox, order).status == "succeeded"

    assert captured(sandbox, order) == 1


SAVED: dict[str, tuple[type[stripe.StripeError], int, str | None]] = {
    "500_saved": (stripe.APIError, 500, None),
    "400_saved": (stripe.InvalidRequestError, 400, None),
    "balance_insufficient": (stripe.InvalidRequestError, 400, "balance_insufficient"),
}


@pytest.mark.parametrize("fault", SAVED)
def test_a_saved_error_has_no_effect_and_is_replayed_for_its_key(
    sandbox: Sandbox, fault: str
) -> None:
    error, status, code = SAVED[fault]
    intent = sandbox.charge()
    refund = partial(sandbox.client.v1.refunds.create, {"payment_intent": intent.id})
    sandbox.fault("refunds.create", fault)
    with pytest.raises(error) as failed:
        refund({"idempotency_key": f"{fault} 1"})

    assert (failed.value.http_status, failed.value.code) == (status, code)
    with pytest.raises(error) as again:
        refund({"idempotency_key": f"{fault} 1"})

    assert again.value.http_body == failed.value.http_body
    assert headers(again.value)["Idempotent-Replayed"] == "true"
    assert sandbox.client.v1.refunds.list({"payment_intent": intent.id}).data == []
    assert refund({"idempotency_key": f"{fault} 2"}).status == "succeeded"


def test_a_saved_error_of_a_charge_leaves_no_intent(sandbox: Sandbox) -> None:
    sandbox.fault("payment_intents.create", "500_saved")
    for _ in range(2):
        with pytest.raises(stripe.APIError):
            charge(sandbox, "o-saved")

    query = "metadata['order_id']:'o-saved'"
    assert sandbox.client.v1.payment_intents.search({"query": query}).data == []


def test_a_429_has_the_time_of_the_next_attempt(sandbox: Sandbox) -> None:
    sandbox.fault("payment_intents.create", "429", seconds=7)
    with pytest.raises(stripe.RateLimitError) as refused:
        sandbox.create()

    assert headers(refused.value)["Retry-After"] == "7"
    assert refused.value.error
    assert refused.value.error.code == "rate_limit"


def test_a_rule_applies_to_its_operations_for_its_number_of_times(sandbox: Sandbox) -> None:
    sandbox.fault("payment_intents.con*", "500_lost", times=2)
    intent = sandbox.create()

    for _ in range(2):
        with pytest.raises(stripe.APIError):
            sandbox.client.v1.payment_intents.confirm(intent.id)

    assert sandbox.client.v1.payment_intents.confirm(intent.id).status == "succeeded"
    rule = sandbox.http.get("/sandbox/faults").json()["data"][0]
    assert (rule["seen"], rule["struck"]) == (2, 2)


def test_a_probability_is_drawn_from_a_seed(sandbox: Sandbox) -> None:
    def failures(seed: int) -> list[bool]:
        sandbox.http.delete("/sandbox/faults").raise_for_status()
        sandbox.fault("charges.list", "500_lost", times=None, probability=0.5, seed=seed)
        return [fails(sandbox.client.v1.charges.list) for _ in range(20)]

    first = failures(1)
    assert first == failures(1)
    assert first != failures(2)
    assert 0 < sum(first) < 20


def fails(call: Callable[[], Any]) -> bool:
    """Return whether a call fails with a 500."""
    try:
        call()
    except stripe.APIError:
        return True

    return False


def test_a_client_with_automatic_retries_charges_once(sandbox: Sandbox) -> None:
    sandbox.fault("payment_intents.create", "reset_done")
    params: Any = {
        "amount": 1250,
        "currency": "eur",
        "payment_method": "pm_card_visa",
        "confirm": True,
    }
    params |= {"metadata": {"order_id": "o-retried"}, "payment_method_types": ["card"]}
    retrying = sandbox.stripe_client(retries=2)
    assert retrying.v1.payment_intents.create(params).status == "succeeded"
    assert captured(sandbox, "o-retried") == 1


@pytest.mark.parametrize("confirmed", ["in the same call", "in a second call"])
def test_the_simulated_methods_have_the_faults_in_their_names(
    sandbox: Sandbox, confirmed: str
) -> None:
    def pay(method: str) -> Any:
        order = f"{method} {confirmed}"
        if confirmed == "in the same call":
            return charge(sandbox, order, method)

        intent = charge(sandbox, order, method, confirm=False)
        return sandbox.client.v1.payment_intents.confirm(
            intent.id, options={"idempotency_key": f"{order} confirm"}
        )

    for method, error, done in (
        ("pm_sim_timeout_charged", stripe.APIConnectionError, 1),
        ("pm_sim_timeout_lost", stripe.APIConnectionError, 0),
        ("pm_sim_500_charged", stripe.APIError, 1),
    ):
        with impatient(sandbox), pytest.raises(error):
            pay(method)

        wait_for_capture(sandbox, f"{method} {confirmed}", done)

    assert pay("pm_sim_timeout_charged").status == "succeeded"
    assert pay("pm_sim_timeout_lost").status == "succeeded"
    with pytest.raises(stripe.APIError) as again:
        pay("pm_sim_500_charged")

    assert headers(again.value)["Idempotent-Replayed"] == "true"
    assert captured(sandbox, f"pm_sim_500_charged {confirmed}") == 1


def test_a_rule_with_a_known_id_replaces_the_earlier_rule(sandbox: Sandbox) -> None:
    for fault in ("500_lost", "429"):
        sandbox.fault("charges.list", fault, id="rule")
    assert [rule["fault"] for rule in sandbox.http.get("/sandbox/faults").json()["data"]] == ["429"]


@pytest.mark.parametrize(
    "rule",
    [
        *(
            {},
            [],
            "x",
            {"operation": "*", "fault": "earthquake"},
            {"operation": "*", "fault": "slow", "colour": "red"},
        ),
        {"operation": "*", "fault": "slow", "seconds": 1e300},
        {"operation": "*", "fault": "slow", "probability": 2},
    ],
)
def test_an_invalid_rule_is_refused(sandbox: Sandbox, rule: Any) -> None:
    refused = sandbox.http.post("/sandbox/faults", json=rule)
    assert (refused.status_code, sandbox.http.get("/sandbox/faults").json()["data"]) == (400, [])
