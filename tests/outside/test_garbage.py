"""Workers log and drop invalid data in the broker's lists, and process the other messages."""

import json
import pickle
from base64 import b64encode

import pytest

from tests.outside.harness import valkey
from tests.processes import until
from tests.system.harness import order

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.outside]

RUN_STEP = {"task": "sagas.run_step", "id": "x", "lang": "py"}
OLD_PROTOCOL = json.dumps(
    {"task": "sagas.run_step", "id": "old-protocol", "args": ["x"], "kwargs": {}}
).encode()


def envelope(tag, **changes):
    """Return a message as kombu writes it to a list, with some changes. None removes a part."""
    whole = {
        "body": encoded(json.dumps([[tag], {}, {}]).encode()),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {**RUN_STEP, "id": tag},
        "properties": {
            "delivery_tag": tag,
            "delivery_info": {"exchange": "", "routing_key": "payments"},
            "body_encoding": "base64",
        },
    }
    changed = {**whole, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return json.dumps(
        {name: value for name, value in changed.items() if value is not None}
    ).encode()


def properties(tag, **changes):
    """Return the properties of such a message, with some changes."""
    return {**json.loads(envelope(tag))["properties"], **changes}


def encoded(body):
    return b64encode(body).decode()


# Each key also appears in the content, and therefore in the log line about it.
GARBAGE: dict[str, bytes] = {
    "no-json": b"{{{ no-json",
    "no-text": b"\xff\xfe no-text",
    "bare-list": b'["bare-list"]',
    "bare-string": b'"bare-string"',
    "no-envelope": b'{"hello": "no-envelope"}',
    "no-tag": envelope("x", properties={"no-tag": 1, "body_encoding": "base64"}),
    "no-route": envelope("x", properties={"delivery_tag": "no-route", "body_encoding": "base64"}),
    "tag-of-a-list": envelope("x", properties=properties("x", delivery_tag=["tag-of-a-list"])),
    "route-to-nowhere": envelope(
        "route-to-nowhere",
        properties=properties(
            "route-to-nowhere", delivery_info={"exchange": "nowhere", "routing_key": "nobody"}
        ),
    ),
    "no-base64": envelope("no-base64", body="no-base64!"),
    "body-of-a-number": envelope("body-of-a-number", body=7),
    "unknown-encoding": envelope(
        "unknown-encoding", properties=properties("unknown-encoding", body_encoding="rot13")
    ),
    "unknown-charset": envelope("unknown-charset", content_encoding="klingon"),
    "unknown-type": envelope("unknown-type", content_type="application/unknown-type"),
    "no-type": envelope("no-type", content_type=None),
    "x-python-serialize": envelope(
        "x",
        body=encoded(pickle.dumps([[], {}, {}])),
        content_type="application/x-python-serialize",
        content_encoding="binary",
    ),
    "compressed-never": envelope(
        "compressed-never",
        headers={**RUN_STEP, "id": "compressed-never", "compression": "application/x-gzip"},
    ),
    "no-headers": envelope("no-headers", headers=None),
    "headers-of-a-list": envelope("headers-of-a-list", headers=["headers-of-a-list"]),
    "no-id": envelope("no-id", headers={"task": "sagas.run_step", "lang": "py"}),
    "no-task": envelope("no-task", headers={"id": "no-task", "lang": "py"}),
    "task-of-a-list": envelope(
        "task-of-a-list", headers={"task": ["sagas.run_step"], "id": "task-of-a-list"}
    ),
    "no-body": envelope("no-body", body=None),
    "body-of-a-list": envelope("body-of-a-list", body=encoded(b'["body-of-a-list"]')),
    "times-of-no-time": envelope(
        "times-of-no-time",
        headers={**RUN_STEP, "id": "times-of-no-time", "eta": "times-of-no-time"},
    ),
    "old-protocol": envelope("old-protocol", headers={}, body=encoded(OLD_PROTOCOL)),
    "ancient-without-arguments": envelope(
        "ancient-without-arguments", headers={}, body=encoded(b'{"task": "sagas.run_step"}')
    ),
    "five-megabytes": b"five-megabytes" + bytes(5_000_000),
}


def test_garbage_in_a_queue_is_logged_and_dropped_and_orders_end(api_client, system):
    (process,), logged_before = system.workers, len(system.output())
    main_process = process.popen

    with valkey() as client:
        for number, raw in enumerate(GARBAGE.values()):
            order(api_client, f"during-{number}")
            client.lpush("payments", raw, raw)

        until(
            lambda: not client.llen("payments"), "the worker has read all messages", process=process
        )
        until(
            lambda: GARBAGE.keys().isdisjoint(_unacknowledged(client)),
            "the broker delivers no invalid message again",
            process=process,
        )

    system.wait_until_idle()
    output = system.output()[logged_before:]
    assert {kind for kind in GARBAGE if kind not in output} == set()
    assert (process.popen, process.popen.poll()) == (main_process, None)
    assert "Connection to broker lost" not in output


def test_garbage_among_unacknowledged_messages_is_logged_and_dropped(api_client, system):
    (process,), main_process = system.workers, system.workers[0].popen
    invalid = {
        "no-json-at-all": "{{{",
        "no-triple": '{"rotten": 1}',
        "no-message": '["x", "", "payments"]',
    }

    with valkey() as client:
        client.hset("unacked", mapping=invalid)
        client.zadd("unacked_index", dict.fromkeys([*invalid, "absent"], 1))
        until(
            lambda: client.zcount("unacked_index", 1, 1) == 0,
            "the invalid entries are removed",
            process=process,
        )
        assert invalid.keys().isdisjoint(_unacknowledged(client))

    order(api_client, "after")
    system.wait_until_idle()
    assert (process.popen, process.popen.poll()) == (main_process, None)
    assert {tag for tag in invalid if tag not in process.output()} <= {"no-message"}


def _unacknowledged(client):
    return {tag.decode() for tag in client.hkeys("unacked")}
