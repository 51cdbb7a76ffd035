"""Prefer (RFC 7240): the first `wait` counts, up to a limit; malformed ones are ignored."""

import pytest
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from api.requests.prefer import preferred_wait, split_unquoted


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
        ('title="\\\\", wait=3', 3),
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
        'title="a, wait=1',
        "wait=" + "9" * 8000,
        "wait=" + "0" * 8000 + "x",
    ],
)
def test_what_is_malformed_or_something_else_is_ignored(header):
    assert wait(header) is None


class CountedText(str):
    """A text that counts how many of its characters are read by iteration or by slices."""

    read = 0

    def __iter__(self):
        for character in super().__iter__():
            self.read += 1
            yield character

    def __getitem__(self, index):
        found = super().__getitem__(index)
        self.read += len(found)
        return found


@pytest.mark.parametrize("piece", ['"', '\\"', ",", '",', "=", '";', 'a="\\', "wait=,", "0"])
def test_each_character_is_read_at_most_twice(piece):
    header = CountedText(piece * (8000 // len(piece)))
    parts = list(split_unquoted(header))
    assert "".join(parts).count('"') == header.count('"')
    assert header.read <= 2 * len(header)
