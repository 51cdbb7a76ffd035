"""The Idempotency-Key: one order for one key of one user."""

from collections import Counter
from datetime import timedelta
from functools import partial

import pytest
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from api.resources import records
from orders import placing, services, tasks
from orders.models import IdempotencyKey, Order, OrderLine, Outbox
from tests.integration.orders import harness
from tests.integration.races import at_once


def test_the_same_request_again_gets_the_same_bytes_and_no_second_order(ada, mug):
    first = harness.place(ada, key="k")
    Order.objects.update(status="paid")
    mug.delete()

    again = harness.place(ada, key="k")

    assert again.status_code == 201
    assert again.content == first.content
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert Order.objects.count() == Outbox.objects.count() == 1


def test_the_same_order_spelled_otherwise_is_the_same_request(ada, mug):
    first = harness.place(
        ada, '{"payment_method":"pm","lines":[{"sku":"MUG","quantity":1}]}', key="k"
    )
    again = harness.place(
        ada, '{ "lines": [ {"quantity": 1, "sku": "\\u004dUG"} ], "payment_method": "pm" }', key="k"
    )
    assert again.content == first.content


def test_another_order_under_the_same_key_is_refused(ada, mug):
    harness.place(ada, key="k")
    other = harness.place(ada, harness.body_for(("MUG", 2)), key="k")
    assert other.status_code == 422
    assert other.json()["type"] == "/errors/idempotency-key-reused"
    assert Order.objects.count() == 1


def test_keys_of_different_users_have_nothing_to_do_with_each_other(ada, bob, mug):
    assert harness.place(ada, key="k").json()["id"] != harness.place(bob, key="k").json()["id"]


def test_a_key_may_hold_every_visible_character(ada, mug):
    everything = "".join(map(chr, range(0x21, 0x7F)))
    first, again = harness.place(ada, key=everything), harness.place(ada, key=everything)
    assert (first.status_code, again.content) == (201, first.content)


@pytest.mark.parametrize("key", ["", " ", "a b", "ü", "a\tb", "k" * 256])
def test_a_key_that_is_malformed_is_refused(ada, mug, key):
    headers = {"Idempotency-Key": key}
    answer = ada.post(
        harness.ORDERS, harness.body_for(), content_type=harness.JSON, headers=headers
    )
    assert answer.status_code == 400
    assert harness.fields(answer) == {"Idempotency-Key": "invalid"}


def test_an_order_without_a_key_is_refused(ada, mug):
    answer = ada.post(harness.ORDERS, harness.body_for(), content_type=harness.JSON)
    assert answer.status_code == 400
    assert harness.fields(answer) == {"Idempotency-Key": "required"}


def test_the_longest_key_is_taken(ada, mug):
    assert harness.place(ada, key="~" * 255).status_code == 201


@pytest.mark.django_db(transaction=True)
def test_a_request_whose_key_is_in_flight_is_told_so_at_once():
    client, owner = harness.client_of("ada"), harness.user("ada")
    harness.stocked()
    with transaction.atomic():
        placing.lookup(owner.id, "k", [])
        (answer,) = at_once([partial(harness.place, client, key="k")])
    assert answer.status_code == 409
    assert answer.json()["type"] == "/errors/idempotency-key-in-flight"
    assert harness.place(client, key="k").status_code == 201


@pytest.mark.django_db(transaction=True)
def test_a_lookup_before_the_keys_holder_commits_is_answered_as_key_in_flight(
    monkeypatch,
):
    client, owner = harness.client_of("ada"), harness.user("ada")
    harness.stocked()
    other = harness.place(client, key="other").json()["id"]

    def look_too_early(*given):
        found = placing.lookup(*given)
        at_once(
            [
                partial(
                    IdempotencyKey.objects.create,
                    user=owner,
                    key="k",
                    fingerprint="f",
                    order_id=other,
                )
            ]
        )
        return found

    monkeypatch.setattr(services, "lookup", look_too_early)
    answer = harness.place(client, key="k")

    assert (answer.status_code, answer.json()["type"]) == (409, "/errors/idempotency-key-in-flight")
    assert Order.objects.count() == Outbox.objects.count() == OrderLine.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_crash_frees_the_key():
    client, owner = harness.client_of("ada"), harness.user("ada")
    harness.stocked()
    with transaction.atomic():
        placing.lookup(owner.id, "k", [])
        transaction.set_rollback(True)
    assert harness.place(client, key="k").status_code == 201


@pytest.mark.django_db(transaction=True)
def test_twenty_requests_with_one_key_at_once_make_one_order():
    clients = [harness.client_of("ada") for _ in range(20)]
    harness.stocked()

    answers = at_once([partial(harness.place, client, key="k") for client in clients])

    counted = Counter(answer.status_code for answer in answers)
    assert set(counted) <= {201, 409}
    made = [answer for answer in answers if answer.status_code == 201]
    assert len({answer.content for answer in made}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in made) == 1
    assert Order.objects.count() == IdempotencyKey.objects.count() == 1
    assert Outbox.objects.filter(type="order.created").count() == 1


def test_keys_are_kept_for_a_day_at_least_and_then_forgotten(ada, mug, monkeypatch):
    monkeypatch.setattr(records, "PURGE_BATCH", 2)
    for key in ("a", "b", "c", "d"):
        harness.place(ada, key=key)
    IdempotencyKey.objects.exclude(key="d").update(created_at=Now() - timedelta(hours=49))

    assert tasks.purge_keys() == 3

    assert [record.key for record in IdempotencyKey.objects.all()] == ["d"]
    assert timedelta(hours=24) <= tasks.KEPT
    assert Order.objects.count() == 4
    assert records.purge_records(IdempotencyKey, timezone.now() - timedelta(hours=24)) == 0
