"""The outbox and inbox pages of every service: search, filters and actions."""

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission
from django.urls import reverse

from console.models import Run
from sagas.admin import changelist
from sagas.admin.changelist import BoundedPaginator
from sagas.ids import uuid7
from services import NAMES as SERVICES
from tests.integration.orders import harness

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture(autouse=True)
def flushed(monkeypatch):
    """The services for which a flush was requested. The background flush is disabled."""
    services: list[str] = []
    monkeypatch.setattr("sagas.admin.messages.request_flush", services.append)
    return services


@pytest.fixture
def operator(client, django_user_model):
    client.force_login(django_user_model.objects.create_superuser("olga"))
    return client


@pytest.fixture
def engine_alone(monkeypatch):
    """Take the console away: the lists act by themselves."""
    monkeypatch.setattr("sagas.admin.messages._consoles", [])


@pytest.fixture
def viewer(client, django_user_model):
    client.force_login(django_user_model.objects.create_user("vera", is_staff=True))
    return client


def sent(service, **fields):
    """Write a row to a service's outbox, published by default."""
    row = {
        "id": uuid7(),
        "saga": uuid7(),
        "seq": 1,
        "type": "thing.done",
        "step": f"{service}.do",
        "target": "x.y",
    }
    times = {"saga_started_at": "2026-01-01T00:00:00Z", "published_at": "2026-01-01T00:00:01Z"}
    empty: dict[str, dict[str, str]] = {"data": {}, "context": {}, "plan": {}}
    return apps.get_model(service, "Outbox").objects.create(**{**row, **times, **empty, **fields})


def received(service, **fields):
    """Write a row to a service's inbox, waiting for its next attempt by default."""
    row = {
        "saga": uuid7(),
        "step": f"{service}.do",
        "state": "waiting",
        "attempts": 2,
        "error": "no luck",
    }
    far = {
        "saga_started_at": "2026-01-01T00:00:00Z",
        "due_at": "2099-01-01T00:00:00Z",
        "send_at": "2099-01-01T00:00Z",
    }
    return apps.get_model(service, "Inbox").objects.create(**{**row, **far, **fields})


def page(service, table):
    return reverse(f"admin:{service}_{table}_changelist")


def shown(client, service, table, **query):
    response = client.get(page(service, table), query)
    assert response.status_code == 200
    return {row.pk for row in response.context["cl"].queryset}


def act(client, service, table, action, *rows):
    data = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    return client.post(page(service, table), data, follow=True)


@pytest.mark.parametrize("service", SERVICES)
def test_rows_are_found_by_order_and_by_name(operator, service):
    ours, other = sent(service), sent(service, type="other.thing")
    assert shown(operator, service, "outbox", q=str(ours.saga)) == {ours.pk}
    assert shown(operator, service, "outbox", q="other") == {other.pk}
    assert shown(operator, service, "outbox", q="%") == set()
    waiting = received(service)
    received(service)
    assert shown(operator, service, "inbox", q=str(waiting.saga)) == {waiting.pk}


@pytest.mark.parametrize("service", SERVICES)
def test_rows_are_filtered_by_state(operator, service):
    published = sent(service)
    due = sent(service, published_at=None)
    leased = sent(service, published_at=None, due_at="2099-01-01T00:00:00Z")
    failed = sent(service, published_at=None, last_error="the broker is down")
    parked = sent(
        service, published_at=None, due_at="9999-01-01T00:00:00Z", last_error="cannot be read"
    )
    assert shown(operator, service, "outbox", state="published") == {published.pk}
    assert shown(operator, service, "outbox", state="due") == {due.pk, failed.pk}
    assert shown(operator, service, "outbox", state="leased") == {leased.pk}
    assert shown(operator, service, "outbox", state="failed") == {failed.pk}
    assert shown(operator, service, "outbox", state="parked") == {parked.pk}
    done = received(service, state="done", send_at=None)
    received(service)
    assert shown(operator, service, "inbox", state__exact="done") == {done.pk}


@pytest.mark.parametrize("service", SERVICES)
def test_steps_are_filtered_by_state_and_by_name(operator, service, settings):
    waiting = received(service, attempts=1)
    parked = received(service, attempts=1, send_at=None)
    failing = received(service, attempts=settings.SAGA_STEP_ATTEMPTS, step=f"{service}.undo")
    held = received(service, state="held", send_at=None)
    received(service, attempts=settings.SAGA_STEP_ATTEMPTS, state="refused", send_at=None)
    assert shown(operator, service, "inbox", state__exact="parked") == {parked.pk}
    assert shown(operator, service, "inbox", state__exact="failing") == {failing.pk}
    assert shown(operator, service, "inbox", state__exact="held") == {held.pk}
    assert shown(operator, service, "inbox", state__exact="waiting", step=f"{service}.do") == {
        waiting.pk,
        parked.pk,
    }


@pytest.mark.parametrize("service", SERVICES)
def test_rows_are_found_by_words_of_their_error(operator, service):
    received(service)
    step = received(service, error="HTTP 503: the gateway is being mended")
    message = sent(service, published_at=None, last_error="Connection refused: is Redis up?")
    assert shown(operator, service, "inbox", q="gateway is being") == {step.pk}
    assert shown(operator, service, "outbox", q="redis up") == {message.pk}


def test_open_rows_are_found_at_any_age_and_final_rows_among_the_newest(operator, monkeypatch):
    monkeypatch.setattr(changelist, "NEWEST", 2)
    old = received("orders", error="long ago")
    held = received("orders", error="long ago", state="held", send_at=None)
    received("orders", error="long ago", state="refused", send_at=None)
    new = received("orders", error="long ago", state="refused", send_at=None)
    newest = received("orders")
    assert shown(operator, "orders", "inbox", q="long ago") == {old.pk, held.pk, new.pk}
    assert shown(operator, "orders", "inbox", step="orders.do") == {
        old.pk,
        held.pk,
        new.pk,
        newest.pk,
    }
    assert shown(operator, "orders", "inbox", state__exact="refused") == {new.pk}


@pytest.mark.parametrize(
    ("said", "fields"),
    [
        ("parked", {"send_at": None}),
        ("keeps failing", {"attempts": 5}),
        ("given up", {"attempts": 5, "state": "refused"}),
        ("barred", {"attempts": 0, "state": "refused"}),
        ("refused", {"attempts": 1, "state": "refused"}),
    ],
)
def test_a_step_shows_its_state(operator, said, fields):
    received("orders", **fields)
    assert f"\n{said}\n" in operator.get(page("orders", "inbox")).content.decode()


@pytest.mark.usefixtures("engine_alone")
@pytest.mark.parametrize("service", SERVICES)
def test_publish_again_makes_rows_due_and_requests_a_flush_of_their_service(
    operator, service, flushed
):
    again, left = sent(service), sent(service)
    act(operator, service, "outbox", "publish_again", again)
    again.refresh_from_db()
    left.refresh_from_db()
    assert (again.published_at, left.published_at is None) == (None, False)
    assert flushed == [service]


@pytest.mark.usefixtures("engine_alone")
@pytest.mark.parametrize("service", SERVICES)
def test_try_now_brings_waiting_steps_forward_and_leaves_final_and_parked_ones(
    operator, service, flushed
):
    waiting = received(service)
    final = received(service, state="refused", send_at=None)
    parked = received(service, send_at=None)
    act(operator, service, "inbox", "try_now", waiting, final, parked)
    for row in (waiting, final, parked):
        row.refresh_from_db()
    assert waiting.send_at.year < 2099
    assert (final.state, final.send_at, parked.send_at) == ("refused", None, None)
    assert flushed == [service]


@pytest.mark.parametrize("service", SERVICES)
def test_rows_cannot_be_added_edited_or_deleted(operator, service):
    row = sent(service)
    assert operator.get(reverse(f"admin:{service}_outbox_add")).status_code == 403
    assert (
        operator.post(
            reverse(f"admin:{service}_outbox_change", args=[row.pk]), {"type": "x"}
        ).status_code
        == 403
    )
    assert (
        operator.post(
            reverse(f"admin:{service}_outbox_delete", args=[row.pk]), {"post": "yes"}
        ).status_code
        == 403
    )


def test_a_user_without_permission_gets_403(viewer, flushed):
    row = sent("orders")
    assert viewer.get(page("orders", "outbox")).status_code == 403
    assert act(viewer, "orders", "outbox", "publish_again", row).status_code == 403
    assert flushed == []


def test_a_page_never_counts_a_whole_table(monkeypatch, operator):
    monkeypatch.setattr(BoundedPaginator, "MAX_COUNT", 2)
    for _ in range(4):
        sent("orders")
    assert operator.get(page("orders", "outbox")).context["cl"].result_count == 2


@pytest.mark.parametrize("service", SERVICES)
def test_rows_are_filtered_by_how_old_they_are(operator, service):
    old = received(service, created_at="2026-01-01T00:00:00Z")
    received(service)
    assert shown(operator, service, "inbox", older="1h") == {old.pk}


@pytest.mark.parametrize("service", SERVICES)
def test_a_row_shows_indented_json_and_links_to_its_order(operator, service):
    row = sent(service, data={"note": "<b>"})
    harness.order(id=row.saga)
    text = operator.get(reverse(f"admin:{service}_outbox_change", args=[row.pk])).content.decode()
    assert "{\n  &quot;note&quot;: &quot;&lt;b&gt;&quot;\n}" in text
    listed = operator.get(page(service, "outbox")).content.decode()
    assert reverse("admin:orders_order_change", args=[row.saga]) in listed


ACTIONS = [("outbox", "publish_again", "publish", sent), ("inbox", "try_now", "retry", received)]


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(("table", "action", "of_run", "write"), ACTIONS)
def test_with_a_console_an_action_drafts_a_run_over_the_orders_of_the_rows(
    operator, service, flushed, table, action, of_run, write
):
    order = harness.order()
    first, second = write(service, saga=order.id, step="a.b"), write(service, step="a.c")
    before = list(type(first).objects.order_by("id").values())
    page_after = act(operator, service, table, action, first, second)
    run = Run.objects.get()
    assert (run.action, run.state, run.requested_by.username) == (of_run, "draft", "olga")
    assert set(run.items.values_list("order_id", flat=True)) == {first.saga, second.saga}
    assert page_after.redirect_chain[-1][0] == reverse("admin:console_run_change", args=[run.id])
    assert "of these sagas" in page_after.content.decode()
    assert list(type(first).objects.order_by("id").values()) == before
    assert flushed == []


@pytest.mark.parametrize(("table", "action", "of_run", "write"), ACTIONS)
def test_with_a_console_the_permission_to_change_rows_does_not_suffice(
    client, flushed, table, action, of_run, write
):
    mia = harness.user("mia", "viewer")
    mia.user_permissions.set(
        Permission.objects.filter(codename__in=["change_outbox", "change_inbox"])
    )
    client.force_login(mia)
    row = write("orders")
    act(client, "orders", table, action, row)
    assert not Run.objects.exists()
    assert flushed == []
