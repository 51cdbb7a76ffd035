"""Lists look up what their rows share once for a page, or once for a row."""

from contextlib import ExitStack

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from audit.models import Finding
from sagas.ids import uuid7
from sagas.kinds import Fact, SagaKind, kind_of
from tests.integration.console.operators import stuck
from tests.trips.models import Trip

pytestmark = pytest.mark.django_db(databases="__all__", transaction=True)


def queries_of(client, page):
    """Return the answer of a page, and how many queries it makes in all databases."""
    with ExitStack() as stack:
        seen = [
            stack.enter_context(CaptureQueriesContext(connections[alias])) for alias in connections
        ]
        answer = client.get(page)
    return answer, sum(map(len, seen))


def find(subject):
    Finding.objects.create(invariant="I1", subject=str(subject), detail="x")


def test_the_list_of_findings_looks_up_all_kinds_at_once(admin_client):
    page = reverse("admin:audit_finding_changelist")
    order = stuck()
    find(order.pk)
    find("MUG")
    find(uuid7())
    queries_of(admin_client, page)  # the first request fills caches
    _, few = queries_of(admin_client, page)
    trips = [Trip.objects.create(pk=uuid7(), plan={}) for _ in range(5)]
    for saga in [*(trip.pk for trip in trips), *(uuid7() for _ in range(5))]:
        find(saga)
    answer, many = queries_of(admin_client, page)
    assert many == few
    text = answer.content.decode()
    for link in (
        reverse("admin:orders_order_change", args=[order.pk]),
        *(reverse("admin:trips_trip_change", args=[trip.pk]) for trip in trips),
    ):
        assert f'href="{link}"' in text


def test_a_list_of_sagas_asks_for_the_facts_of_each_row_once(admin_client, monkeypatch):
    asked = []

    class Counted(SagaKind):
        columns = ("Name", "Place")

        def facts(self, row):
            asked.append(row.pk)
            return [Fact(name, f"{name} of {row.pk}") for name in ("Name", "Place", "Note")]

    kind = Counted(Trip)
    monkeypatch.setattr("sagas.kinds._registered", {Trip: kind})
    assert kind_of(Trip) is kind
    trips = [Trip.objects.create(pk=uuid7(), plan={}) for _ in range(3)]
    text = admin_client.get(f"{reverse('admin:trips_trip_changelist')}?show=all").content.decode()
    assert sorted(asked) == sorted(trip.pk for trip in trips)
    for trip in trips:
        for name in ("Name", "Place", "Note"):
            assert f"{name} of {trip.pk}" in text
