"""The event stream: every event once, live, resumed without a gap, until the order has ended."""

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from api.auth.tokens import revoke_tokens
from api.resources import timeline as timeline_view
from api.responses import long_poller
from api.responses.long_poller import set_stop_check, slots_taken
from orders.models import TimelineEvent
from sagas.definition.messages import TimelineEntry
from sagas.ids import uuid7
from sagas.storage import timeline
from sagas.storage.registry import get_home
from tests.integration.orders import harness
from tests.integration.races import started
from tests.processes import until

pytestmark = pytest.mark.django_db(transaction=True)

PROBLEM = "application/problem+json"


@pytest.fixture(autouse=True)
def places(settings):
    settings.WAITING_PLACES = 2
    yield
    assert slots_taken() == 0


@pytest.fixture
def order():
    return harness.order(of="ada")


def entry(order, kind, *, seq=0, ends=False, late=timedelta()):
    """Return a timeline entry of an order, recorded now or some time ago."""
    service = kind.split(".")[0]
    at = timezone.now() - late
    return TimelineEntry(
        id=uuid7(),
        saga=order.id,
        seq=seq,
        type=kind,
        service=service,
        step="",
        attempt=1,
        at=at,
        detail={},
        ends=ends,
    )


def record(*entries):
    return timeline.record(get_home("orders"), entries)


def follow(client, order, **headers):
    """Request the stream."""
    headers = {"Accept": "text/event-stream"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return client.get(harness.path(order, "timeline/"), headers=headers)


def parsed(chunk):
    """Return the fields of one message."""
    return dict(line.split(": ", 1) for line in chunk.decode().strip().split("\n"))


def told(answer):
    """Read a stream to its end; return the types of its events."""
    assert answer.status_code == 200, answer.content
    return [
        message["event"]
        for chunk in answer.streaming_content
        if "event" in (message := parsed(chunk))
    ]


def test_events_are_sent_as_the_list_has_them_and_the_stream_ends_with_the_order(ada, order):
    record(entry(order, "order.created"), entry(order, "payment.processed", seq=1))
    record(entry(order, "stock.shipped", seq=2, ends=True))
    answer = follow(ada, order)
    assert answer["Content-Type"] == "text/event-stream"
    assert answer["Cache-Control"] == "no-store"
    first, *messages = [parsed(chunk) for chunk in answer.streaming_content]
    assert first == {"retry": "2000"}
    listed = ada.get(harness.path(order, "timeline/")).json()["results"]
    assert [json.loads(message["data"]) for message in messages] == listed
    assert [message["event"] for message in messages] == [
        "order.created",
        "payment.processed",
        "stock.shipped",
    ]
    assert [message["id"] for message in messages] == [
        str(event.id) for event in TimelineEvent.objects.all()
    ]


def test_an_event_is_sent_as_soon_as_it_is_recorded(ada, order):
    record(entry(order, "order.created"))
    chunks = follow(ada, order).streaming_content
    assert parsed(next(chunks)) == {"retry": "2000"}
    assert parsed(next(chunks))["event"] == "order.created"
    next_one = started(lambda: next(chunks))
    assert not next_one.done()
    record(entry(order, "payment.processed", seq=1))
    assert parsed(next_one.result(timeout=20))["event"] == "payment.processed"
    record(entry(order, "order.cancelled", seq=2, ends=True))
    assert [parsed(chunk)["event"] for chunk in chunks] == ["order.cancelled"]


def test_resuming_loses_nothing_that_was_recorded_late(ada, order):
    seen, late = (
        entry(order, "payment.processed", seq=3),
        entry(order, "order.created", late=timedelta(hours=1)),
    )
    record(seen)
    record(late)
    record(entry(order, "order.cancelled", seq=4, ends=True))
    assert told(follow(ada, order, Last_Event_ID=str(seen.id))) == [
        "order.created",
        "order.cancelled",
    ]
    assert told(follow(ada, order, Last_Event_ID=str(late.id))) == ["order.cancelled"]


def test_resuming_within_what_was_recorded_at_once_loses_nothing(ada, order):
    together = [entry(order, f"e.{n}", seq=n // 2, ends=n == 5) for n in range(6)]
    record(*reversed(together))
    everything = told(follow(ada, order))
    ids = {one.type: str(one.id) for one in together}
    assert sorted(everything) == sorted(ids)
    for place, kind in enumerate(everything[:-1]):
        assert told(follow(ada, order, Last_Event_ID=ids[kind])) == everything[place + 1 :]


def test_when_nothing_is_left_the_client_is_told_not_to_come_again(ada, order):
    last = entry(order, "order.cancelled", ends=True)
    record(last)
    assert follow(ada, order, Last_Event_ID=str(last.id)).status_code == 204


def test_an_event_of_another_order_cannot_be_resumed_after(ada, order):
    other = entry(harness.order(of="ada"), "order.created")
    record(other)
    for unknown in (str(other.id), str(uuid7()), "x", "1"):
        answer = follow(ada, order, Last_Event_ID=unknown)
        assert answer.status_code == 400
        assert harness.fields(answer) == {"Last-Event-ID": "unknown"}


def test_what_goes_wrong_is_a_problem_in_json(ada, bob, client, order, settings):
    assert follow(bob, order).status_code == 404
    assert follow(client, order).status_code == 401
    assert harness.fields(
        ada.get(harness.path(order, "timeline/?limit=1"), headers={"Accept": "text/event-stream"})
    ) == {"limit": "unknown"}
    settings.WAITING_PLACES = 0
    full = follow(ada, order)
    assert (full.status_code, full["Retry-After"]) == (503, "5")
    for answer in (follow(bob, order), follow(client, order), full):
        assert answer["Content-Type"] == PROBLEM
        assert answer.json()["status"] == answer.status_code


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("text/event-stream, */*", "text/event-stream"),
        ("text/*", "text/event-stream"),
        ("text/html", PROBLEM),
    ],
)
def test_the_client_says_what_it_takes(ada, order, accept, content_type):
    record(entry(order, "order.cancelled", ends=True))
    answer = ada.get(harness.path(order, "timeline/"), headers={"Accept": accept})
    assert answer["Content-Type"] == content_type
    answer.close()


def test_head_takes_no_place(ada, order, settings):
    settings.WAITING_PLACES = 0
    answer = ada.head(harness.path(order, "timeline/"), headers={"Accept": "text/event-stream"})
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/event-stream")


def test_a_stream_that_nobody_reads_gives_its_place_back(ada, order):
    follow(ada, order).close()
    begun = follow(ada, order)
    next(begun.streaming_content)
    begun.close()
    assert slots_taken() == 0


def test_one_user_may_follow_a_limited_number_of_streams(ada, bob, settings):
    settings.WAITING_PLACES, settings.WAITING_PLACES_PER_USER = 10, 2
    order = harness.order(of="ada")
    streams = [follow(ada, order), follow(ada, order)]
    refused = follow(ada, order)
    assert (refused.status_code, refused["Retry-After"]) == (429, "5")
    assert (refused["Content-Type"], refused.json()["type"]) == (
        PROBLEM,
        "/errors/too-many-streams",
    )
    other = follow(bob, harness.order(of="bob"))
    assert other.status_code == 200

    streams.pop().close()
    streams.append(follow(ada, order))
    assert streams[-1].status_code == 200
    for stream in (*streams, other):
        stream.close()


@pytest.mark.parametrize(("places", "share"), [(400, 50), (8, 4)])
def test_by_default_one_user_has_an_eighth_of_the_places(ada, settings, places, share):
    settings.WAITING_PLACES = places
    order = harness.order(of="ada")
    streams = [follow(ada, order) for _ in range(share + 1)]
    assert [stream.status_code for stream in streams] == [200] * share + [429]
    for stream in streams:
        stream.close()


def test_a_quiet_stream_is_kept_alive_by_comments(ada, order, monkeypatch):
    monkeypatch.setattr(timeline_view, "KEEP_ALIVE_SECONDS", 0.05)
    answer = follow(ada, order)
    chunks = answer.streaming_content
    assert parsed(next(chunks)) == {"retry": "2000"}
    assert next(chunks) == next(chunks) == b": still here\n\n"
    answer.close()


def test_a_stream_ends_after_a_while_for_its_client_to_resume(ada, order, monkeypatch):
    monkeypatch.setattr(timeline_view, "LONGEST_STREAM", 0)
    record(entry(order, "order.created"))
    assert told(follow(ada, order)) == ["order.created"]


def test_a_server_that_stops_ends_its_streams_and_lets_nobody_in(ada, order, monkeypatch):
    record(entry(order, "order.created"))
    reading = started(lambda: told(follow(ada, order)))
    until(lambda: slots_taken() == 1, "somebody follows")
    monkeypatch.setattr(long_poller, "_stopping", long_poller._stopping)  # put back afterwards
    set_stop_check(lambda: True)
    assert reading.result(timeout=20) == ["order.created"]
    assert follow(ada, order).status_code == 503


@pytest.mark.parametrize("end", ["token", "deactivation", "password"])
def test_a_stream_ends_within_seconds_with_the_access_of_its_user(ada, order, monkeypatch, end):
    monkeypatch.setattr(timeline_view, "CHECK_SECONDS", 0.05)
    record(entry(order, "order.created"))
    reading = started(lambda: told(follow(ada, order)))
    until(lambda: slots_taken() == 1, "somebody follows")
    user = User.objects.get(username="ada")
    match end:
        case "token":
            revoke_tokens(user)
        case "deactivation":
            user.is_active = False
            user.save()
        case "password":
            user.set_password("battery staple 9")
            user.save()
    assert reading.result(timeout=20) == ["order.created"]


def test_only_the_customer_gets_the_address_of_the_confirmation(ada, order):
    event = entry(order, "payment.action_required")
    event.detail.update({"url": "https://payments.example/1", "method": "card"})
    record(event, entry(order, "order.cancelled", seq=1, ends=True))
    staff = harness.client_of("sid", *harness.STAFF)
    streamed = [b"".join(follow(client, order).streaming_content) for client in (ada, staff)]
    assert [b"payments.example" in text for text in streamed] == [True, False]
    assert b'"method":"card"' in streamed[1]
