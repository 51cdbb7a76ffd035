"""Past runs against a failure, with the numbers of orders that ended and that failed again."""

import pytest
from django.db.models.functions import Now

from console.failures.grouping import current_failures
from console.failures.history import past_runs
from console.models import Run, RunItem
from orders.models import Order
from payments.models import Inbox
from services import NAMES
from tests.integration.console.conftest import client_of, count_queries
from tests.integration.console.operators import confirmed, stuck, work

pytestmark = [
    pytest.mark.usefixtures("quiet"),
    pytest.mark.django_db(transaction=True, databases="__all__"),
]


def retried(*orders, by, reason="The gateway is back."):
    run = confirmed("retry", *orders, by=by, reason=reason)
    work()
    return run


def fail_again(order):
    Inbox.objects.filter(saga=order.id).update(attempts=4, updated_at=Now())


def end(*orders):
    Inbox.objects.filter(saga__in=[order.id for order in orders]).update(state="done", send_at=None)
    Order.objects.filter(id__in=[order.id for order in orders]).update(ended_at=Now())


def key():
    [group] = current_failures().groups
    return group.key


def counted(past):
    return [(run.orders, run.ended, run.failed_again, run.open) for run in past]


def test_a_past_run_counts_its_orders_that_ended_and_that_failed_again(olga):
    helped, failed, waiting = stuck(), stuck(), stuck()
    failure = key()
    run = retried(helped, failed, waiting, by=olga)
    end(helped)
    fail_again(failed)
    [past] = past_runs(failure)
    assert (past.run, past.who, past.action, past.why) == (
        run.id,
        "olga",
        "Try again now",
        "The gateway is back.",
    )
    assert counted([past]) == [(3, 1, 1, 1)]


def test_an_order_that_ended_only_after_a_second_run_was_not_helped_by_the_first(olga):
    order = stuck()
    failure = key()
    retried(order, by=olga, reason="first")
    fail_again(order)
    retried(order, by=olga, reason="second")
    end(order)
    past = past_runs(failure)
    assert [run.why for run in past] == ["second", "first"]
    assert counted(past) == [(1, 1, 0, 0), (1, 0, 1, 0)]


def test_a_run_against_another_failure_is_not_listed(olga):
    order = stuck()
    other = stuck()
    Inbox.objects.filter(saga=other.id).update(error="something else")
    failure = next(group.key for group in current_failures().groups if order.id in group.sagas)
    retried(other, by=olga)
    assert past_runs(failure) == []


def test_an_order_that_fails_nowhere_has_no_failure_in_the_log(olga):
    order = stuck()
    failure = key()
    Inbox.objects.update(error="")
    retried(order, by=olga)
    assert past_runs(failure) == past_runs("") == []


def test_the_page_of_a_failure_shows_its_orders_and_its_history(viewer, olga):
    order = stuck()
    run = retried(order, by=olga)
    fail_again(order)
    page = viewer.get(f"/admin/failures/{key()}/")
    text = page.content.decode()
    assert page.context["group"].sagas == [order.id]
    assert f"/admin/console/run/{run.id}/change/" in text
    assert '<span class="late">1</span>' in text


def test_past_failures_and_purged_runs_are_still_listed(viewer, admin_client, olga):
    order = stuck()
    failure = key()
    retried(order, by=olga)
    end(order)
    RunItem.objects.all().delete()
    Run.objects.all().delete()
    text = viewer.get(f"/admin/failures/{failure}/").content.decode()
    assert "No saga that you may view has this failure now" in text  # trips are hidden
    everything = admin_client.get(f"/admin/failures/{failure}/").content.decode()
    assert "No saga has this failure now" in everything
    assert "payments.charge: no luck" in text
    assert '<span class="well">1</span>' in text
    assert "/admin/console/run/0" not in text


def test_a_failure_that_never_was_is_not_found(viewer):
    assert viewer.get("/admin/failures/0123456789abcdef/").status_code == 404


def test_history_needs_the_permission_to_view_orders():
    assert client_of("sid").get("/admin/failures/0123456789abcdef/").status_code == 403


def test_the_history_takes_few_queries_however_many_runs_there_were(viewer, olga):
    order = stuck()
    failure = key()
    for _ in range(5):
        retried(order, by=olga)
    with count_queries() as total:
        assert len(viewer.get(f"/admin/failures/{failure}/").context["past"]) == 5
    assert total() <= 8 + 4 * len(NAMES)
