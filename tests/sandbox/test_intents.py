"""Payment intents make the transitions that Stripe documents, and refuse all others."""

from collections.abc import Callable
from typing import Any

import pytest
import stripe

from tests.sandbox.process import Sandbox

Make = Callable[[Sandbox], Any]

STATES: dict[str, Make] = {
    "requires_payment_method": lambda sandbox: sandbox.create(None),
    "requires_confirmation": lambda sandbox: sandbox.create(),
    "requires_action": lambda sandbox: sandbox.charge("pm_card_threeDSecure2Required"),
    "requires_capture": lambda sandbox: sandbox.charge(capture_method="manual"),
    "processing": lambda sandbox: sandbox.charge("pm_sim_processing"),
    "succeeded": lambda sandbox: sandbox.charge(),
    "canceled": lambda sandbox: sandbox.client.v1.payment_intents.cancel(sandbox.create().id),
}
ALLOWED = {
    "confirm": {"requires_payment_method", "requires_confirmation", "requires_action"},
    "capture": {"requires_capture"},
    "cancel": {
        "requires_payment_method",
        "requires_confirmation",
        "requires_action",
        "requires_capture",
    },
}


def do(sandbox: Sandbox, verb: str, intent: str) -> Any:
    """Confirm, capture or cancel an intent."""
    intents = sandbox.client.v1.payment_intents
    if verb == "confirm":
        return intents.confirm(intent, {"payment_method": "pm_card_visa"})
    return getattr(intents, verb)(intent)


@pytest.mark.parametrize("verb", ALLOWED)
@pytest.mark.parametrize("state", STATES)
def test_a_transition_is_made_or_refused_as_documented(
    sandbox: Sandbox, state: str, verb: str
) -> None:
    intent = STATES[state](sandbox)
    assert intent.status == state

    if state in ALLOWED[verb]:
        assert do(sandbox, verb, intent.id).status == (
            "canceled" if verb == "cancel" else "succeeded"
        )
        return

    with pytest.raises(stripe.InvalidRequestError) as refused:
        do(sandbox, verb, intent.id)

    assert (refused.value.http_status, refused.value.code) == (
        400,
        "payment_intent_unexpected_state",
    )
    assert refused.value.error
    assert refused.value.error.payment_intent
    assert refused.value.error.payment_intent.status == state
    assert sandbox.client.v1.payment_intents.retrieve(intent.id).status == state


def test_a_charge_is_captured_once_and_recorded_in_the_ledger(sandbox: Sandbox) -> None:
    intent = sandbox.charge(metadata={"order_id": "o-charged"})
    assert (intent.status, intent.amount_received, intent.amount_capturable) == (
        "succeeded",
        1250,
        0,
    )
    assert intent.payment_method.startswith("pm_")
    charge = sandbox.client.v1.charges.retrieve(intent.latest_charge)
    assert (charge.status, charge.captured, charge.amount_captured) == ("succeeded", True, 1250)
    assert charge.payment_intent == intent.id
    entry = next(entry for entry in sandbox.ledger() if entry["payment_intent"] == intent.id)
    assert (
        entry["kind"],
        entry["amount"],
        entry["currency"],
        entry["order_id"],
        entry["charge"],
    ) == (*("capture", 1250, "eur", "o-charged", charge.id),)


def test_a_canceled_intent_refuses_every_confirmation(sandbox: Sandbox) -> None:
    intent = sandbox.create(key="the order's key")
    sandbox.client.v1.payment_intents.cancel(intent.id, {"cancellation_reason": "abandoned"})
    with pytest.raises(stripe.InvalidRequestError):
        sandbox.client.v1.payment_intents.confirm(intent.id)

    again = sandbox.create(key="the order's key")
    # The replayed answer has the status of the first answer.
    assert (again.id, again.status) == (intent.id, "requires_confirmation")
    now = sandbox.client.v1.payment_intents.retrieve(intent.id)
    assert (now.status, now.cancellation_reason, now.latest_charge) == (
        "canceled",
        "abandoned",
        None,
    )


def test_a_partial_capture_releases_the_rest(sandbox: Sandbox) -> None:
    intent = sandbox.charge(capture_method="manual")
    assert (intent.amount_capturable, intent.amount_received) == (1250, 0)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        sandbox.client.v1.payment_intents.capture(intent.id, {"amount_to_capture": 1251})

    assert refused.value.code == "amount_too_large"
    captured = sandbox.client.v1.payment_intents.capture(intent.id, {"amount_to_capture": 1000})
    assert (captured.status, captured.amount_capturable, captured.amount_received) == (
        "succeeded",
        0,
        1000,
    )
    assert [
        entry["amount"] for entry in sandbox.ledger() if entry["payment_intent"] == intent.id
    ] == [1000]


def test_a_canceled_authorization_moves_no_money(sandbox: Sandbox) -> None:
    intent = sandbox.charge(capture_method="manual")
    canceled = sandbox.client.v1.payment_intents.cancel(intent.id)
    assert (canceled.status, canceled.amount_capturable) == ("canceled", 0)
    charge = sandbox.client.v1.charges.retrieve(intent.latest_charge)
    assert (charge.captured, charge.refunded, charge.amount_refunded) == (False, False, 0)
    assert "charge.refunded" not in sandbox.events_of(intent.latest_charge)
    assert intent.id not in {entry["payment_intent"] for entry in sandbox.ledger()}


def test_a_confirmation_that_may_redirect_needs_a_return_url(sandbox: Sandbox) -> None:
    params: Any = {
        "amount": 1250,
        "currency": "eur",
        "payment_method": "pm_card_visa",
        "confirm": True,
    }
    with pytest.raises(stripe.InvalidRequestError) as refused:
        sandbox.client.v1.payment_intents.create(params)

    assert refused.value.param == "return_url"
    created = sandbox.client.v1.payment_intents.create(
        params | {"return_url": "https://shop.example/back"}
    )
    assert created.status == "succeeded"


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"amount": 0}, "parameter_invalid_integer", "amount"),
        ({"amount": "12.50"}, "parameter_invalid_integer", "amount"),
        ({"amount": 49}, "amount_too_small", "amount"),
        ({"amount": 100_000_000}, "amount_too_large", "amount"),
        ({"amount": ""}, "parameter_invalid_empty", "amount"),
        ({"currency": "euros"}, None, "currency"),
        ({"capture_method": "never"}, None, "capture_method"),
        ({"colour": "red"}, "parameter_unknown", "colour"),
        ({"metadata": {"k" * 41: "v"}}, None, f"metadata[{'k' * 41}]"),
        ({"metadata": "order"}, None, "metadata"),
        ({"off_session": True}, None, "off_session"),
        ({"payment_method": "pm_of_nobody"}, "resource_missing", "payment_method"),
        (
            {"payment_method_types": ["ideal"], "automatic_payment_methods": ""},
            None,
            "automatic_payment_methods",
        ),
        ({"expand": ["customer.name"]}, None, "expand"),
    ],
)
def test_a_wrong_parameter_is_named_and_creates_nothing(
    sandbox: Sandbox, params: dict[str, Any], code: str | None, param: str
) -> None:
    before = sandbox.client.v1.payment_intents.list({"limit": 1}).data
    with pytest.raises(stripe.InvalidRequestError) as refused:
        sandbox.create(**params)

    assert (refused.value.http_status, refused.value.code, refused.value.param) == (
        400,
        code,
        param,
    )
    assert sandbox.client.v1.payment_intents.list({"limit": 1}).data == before


def test_an_unknown_object_is_a_404(sandbox: Sandbox) -> None:
    v1 = sandbox.client.v1
    for retrieve in (
        v1.payment_intents.retrieve,
        v1.charges.retrieve,
        v1.refunds.retrieve,
        v1.events.retrieve,
    ):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            retrieve("xx_nowhere")

        assert (refused.value.http_status, refused.value.code) == (404, "resource_missing")


def test_a_list_is_paged_newest_first_in_both_directions(sandbox: Sandbox) -> None:
    made = [sandbox.create().id for _ in range(5)][::-1]
    intents = sandbox.client.v1.payment_intents
    first = intents.list({"limit": 2})
    assert ([intent.id for intent in first.data], first.has_more) == (made[:2], True)
    second = intents.list({"limit": 2, "starting_after": made[1]})
    assert [intent.id for intent in second.data] == made[2:4]
    back = intents.list({"limit": 2, "ending_before": made[3]})
    assert ([intent.id for intent in back.data], back.has_more) == (made[1:3], True)
    all_ids = [intent.id for intent in intents.list({"limit": 2}).auto_paging_iter()]
    assert all_ids[:5] == made
    assert len(all_ids) == len(set(all_ids))


def test_a_list_can_be_limited_to_a_time_window(sandbox: Sandbox) -> None:
    old = sandbox.create()
    sandbox.control("clock", advance=1000)
    new = sandbox.create()
    intents = sandbox.client.v1.payment_intents
    window: Any = {"created": {"gt": old.created, "lte": new.created}}
    assert [intent.id for intent in intents.list(window).data] == [new.id]
    assert new.id not in {
        intent.id for intent in intents.list({"created": {"lt": new.created}, "limit": 100}).data
    }


def test_a_search_by_metadata_finds_intents_unless_the_index_is_stale(sandbox: Sandbox) -> None:
    metadata = {"order_id": 'it\'s "one"'}
    wanted = sandbox.charge(metadata=metadata)
    sandbox.create(metadata=metadata)
    search = sandbox.client.v1.payment_intents.search
    query = r"""metadata['order_id']:'it\'s "one"'"""
    assert len(search({"query": query}).data) == 2
    assert [intent.id for intent in search({"query": f"{query} AND status:'succeeded'"}).data] == [
        wanted.id
    ]
    assert [
        intent.id
        for intent in search({"query": f"amount>1249 and {query}", "limit": 1}).auto_paging_iter()
    ][1] == wanted.id
    assert search({"query": "metadata['order_id']:'nobody'"}).data == []
    sandbox.fault("payment_intents.search", "stale", seconds=60)
    assert search({"query": query}).data == []
    assert len(search({"query": query}).data) == 2


@pytest.mark.parametrize(
    "query",
    [
        "order",
        "status:succeeded",
        "metadata['a']:'b' OR status:'x'",
        "amount:'x'",
        f"amount:'{'9' * 5000}'",
        "a:'b' AND",
    ],
)
def test_an_invalid_query_is_refused(sandbox: Sandbox, query: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        sandbox.client.v1.payment_intents.search({"query": query})
    assert refused.value.param == "query"
