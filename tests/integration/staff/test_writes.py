"""A write of a request is in the log whether its transaction commits or is rolled back."""

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from inventory.models import StockItem
from inventory.services import adjust_stock_as_staff
from orders.models import Product
from staff.models import LogEntry
from staff.policy import Shell
from staff.unsettled import collected
from staff.writes import staff_write
from tests.integration.orders import harness

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

OLGA = Shell("olga")


class LostError(Exception):
    """The view fails after the write."""


def lose(*_: object) -> None:
    raise LostError


def logged():
    return list(LogEntry.objects.order_by("seq").values_list("what", "subject", "outcome"))


def rename_mug():
    with staff_write(OLGA, "change_product", via="admin", subject="MUG", why="A typo.") as write:
        Product.objects.filter(sku="MUG").update(name="Mug, large")
        write.outcome = "name: Mug → Mug, large."


@pytest.fixture
def mug(db):
    harness.stocked("MUG")


def request(*calls, using="default"):
    """Call functions as a view does that has one transaction."""
    with collected(), transaction.atomic(using=using):
        for call in calls:
            call()


def adjust():
    adjust_stock_as_staff(OLGA, via="admin", sku="MUG", quantity=5, reason="Counted.")


@pytest.mark.usefixtures("mug")
def test_a_write_that_an_outer_transaction_rolls_back_is_an_entry_that_says_failed():
    with pytest.raises(LostError):
        request(rename_mug, lose)
    outcome = "The transaction of this write was rolled back. Undone: name: Mug → Mug, large."
    assert logged() == [("failed", "MUG", outcome)]
    assert LogEntry.objects.get().why == "A typo."


@pytest.mark.usefixtures("mug")
def test_a_write_in_a_part_that_is_rolled_back_is_an_entry_although_the_rest_commits():
    def part():
        with pytest.raises(LostError), transaction.atomic():
            [call() for call in (rename_mug, lose)]

    request(part, lambda: User.objects.create_user("carl"))
    assert [what for what, _, _ in logged()] == ["failed"]
    assert User.objects.exists()


@pytest.mark.usefixtures("mug")
def test_a_write_that_commits_has_one_entry():
    request(rename_mug)
    assert logged() == [("done", "MUG", "name: Mug → Mug, large.")]


@pytest.mark.usefixtures("mug")
def test_a_callback_that_fails_after_the_commit_is_no_rollback():
    with pytest.raises(LostError):
        request(lambda: transaction.on_commit(lose), rename_mug)
    assert logged() == [("done", "MUG", "name: Mug → Mug, large.")]


def test_a_callback_that_fails_after_the_commit_in_another_database_is_no_rollback():
    with pytest.raises(LostError):
        request(lambda: transaction.on_commit(lose, using="inventory"), adjust, using="inventory")
    assert StockItem.objects.get().on_hand == 5
    assert logged() == [("intended", "MUG", ""), ("done", "MUG", "+5 pieces of MUG.")]


def test_an_entry_that_cannot_be_added_after_the_commit_fails_no_other_callback(monkeypatch):
    called: list[bool] = []

    def view():
        adjust()
        transaction.on_commit(lambda: called.append(True), using="inventory")
        monkeypatch.setattr("staff.log.LogEntry.save", lose)

    request(view, using="inventory")
    monkeypatch.undo()
    assert called == [True]
    assert logged() == [("intended", "MUG", "")]


def test_a_rollback_in_another_database_is_an_entry_that_says_failed():
    with pytest.raises(LostError):
        request(adjust, lose, using="inventory")
    assert not StockItem.objects.exists()
    assert [what for what, _, _ in logged()] == ["intended", "failed"]
