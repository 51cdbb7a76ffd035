"""Prefer (RFC 7240): the first `wait` counts, up to a limit; malformed ones are ignored."""

import pytest
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from api.requests.prefer import preferred_wait


def wait(header: str | None) -> int | None:
    headers = {} if header is None else {"Prefer": header}
    return preferred_wait(Request(APIRequestFactory().get("/", headers=headers)))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("wait=0", 0),
        ("wait=10", 10),
        ("wait=30", 30),
        ("wait=31", 30),
        ("wait=999999999", 30),
        ("wait=0000000000000000000005", 5),
        ('wait="10"', 10),
        ("Wait = 10", 10),
        ("respond-async, wait=10", 10),
        ("wait=10; strictly; reason=none", 10),
        ("handling=lenient; x=1, wait=10, wait=20", 10),
        ('title="a, wait=1", wait=2', 2),
        ('title="a\\", wait=1", wait=2', 2),
        (",, wait=3,", 3),
        ("@@@, wait=3", 3),
    ],
)
def test_the_first_wait_counts(header, seconds):
    assert wait(header) == seconds


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "wait",
        "wait=",
        'wait=""',
        "wait=-1",
        "wait=1.5",
        "wait=1e1",
        "wait=10s",
        "wait=1 0",
        "wait=x, wait=5",
        'wait="5',
        "wait=\u0665",
        "waits=5",
        "respond-async",
        "respond-async; wait=5",
        "wait:5",
        '"' * 4000 + "wait=1",
    ],
)
def test_what_is_malformed_or_something_else_is_ignored(header):
    assert wait(header) is None
