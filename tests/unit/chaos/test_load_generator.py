"""The simulated customers repeat a request that the API is still handling."""

import httpx
import pytest

from tools.chaos.load_generator import is_in_flight


@pytest.mark.parametrize(
    ("status", "type_", "repeats"),
    [
        (409, "https://shop.example/errors/idempotency-key-in-flight", True),
        (409, "https://shop.example/errors/not-returnable", False),
        (400, "https://shop.example/errors/invalid", False),
    ],
)
def test_only_a_key_in_flight_is_sent_again(status, type_, repeats):
    assert is_in_flight(httpx.Response(status, json={"type": type_})) is repeats
