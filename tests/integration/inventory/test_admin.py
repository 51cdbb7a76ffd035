"""The admin of inventory is read-only, except that staff can add adjustments."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from inventory.models import StockAdjustment, StockItem
from tests.integration.inventory.factories import counters, order, received, run

pytestmark = pytest.mark.django_db(databases=["default", "inventory"])

ADD = "/admin/inventory/stockadjustment/add/"


@pytest.fixture
def boss(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("boss"))
    return client


@pytest.mark.parametrize("page", ["stockitem", "reservation", "stockadjustment", "outbox", "inbox"])
def test_every_page_opens_and_finds(boss: Client, page: str) -> None:
    received(MUG=5)
    held = order("inventory.reserve", {"MUG": 2})
    run("inventory.reserve", held)
    for term in ("", str(held.saga), "MUG", "' OR 1=1", "…"):
        assert boss.get(f"/admin/inventory/{page}/", {"q": term}).status_code == 200


def test_a_reservation_is_found_by_its_order(boss: Client) -> None:
    received(MUG=5)
    wanted, other = (order("inventory.reserve", {"MUG": 1}) for _ in range(2))
    run("inventory.reserve", wanted, other)
    page = boss.get("/admin/inventory/reservation/", {"q": str(wanted.saga)}).content.decode()
    assert str(wanted.saga) in page
    assert str(other.saga) not in page


def test_counters_are_not_edited(boss: Client) -> None:
    received(MUG=5)
    item = StockItem.objects.get(sku="MUG")
    assert (
        boss.post(f"/admin/inventory/stockitem/{item.pk}/change/", {"on_hand": 99}).status_code
        == 403
    )
    assert boss.get("/admin/inventory/stockitem/add/").status_code == 403
    assert counters("MUG") == (5, 0, 0)


def test_an_adjustment_is_made(boss: Client) -> None:
    assert boss.get(ADD).status_code == 200
    answer = boss.post(ADD, {"sku": "NEW", "quantity": 4, "reason": "delivery"})
    assert answer.status_code == 302
    made = StockAdjustment.objects.get()
    assert (made.item.sku, made.quantity, made.reason, made.by) == ("NEW", 4, "delivery", "boss")
    assert counters("NEW") == (4, 0, 0)
    assert boss.get(f"/admin/inventory/stockadjustment/{made.pk}/change/").status_code == 200


@pytest.mark.parametrize(
    "wrong",
    [{"sku": "no/sku"}, {"sku": ""}, {"quantity": 0}, {"quantity": 1_000_001}, {"reason": ""}],
)
def test_a_wrong_adjustment_is_asked_for_again(boss: Client, wrong: dict[str, object]) -> None:
    answer = boss.post(ADD, {"sku": "NEW", "quantity": 4, "reason": "delivery"} | wrong)
    assert (answer.status_code, StockAdjustment.objects.count()) == (200, 0)


def test_what_is_not_there_cannot_be_taken_out(boss: Client) -> None:
    received(MUG=1)
    answer = boss.post(ADD, {"sku": "MUG", "quantity": -2, "reason": "broken"}, follow=True)
    assert "fewer than 2 pieces of MUG" in answer.content.decode()
    assert counters("MUG") == (1, 0, 0)
