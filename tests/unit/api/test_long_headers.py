"""Django never parses a Content-Type that is too long to be one."""

import pytest

from api.requests.long_headers import MAX_CONTENT_TYPE, shorten_content_type

LONGEST = "multipart/form-data; boundary=" + "x" * 70


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        (LONGEST, LONGEST),
        ("a/b;" + " " * (MAX_CONTENT_TYPE - 4), "a/b;" + " " * (MAX_CONTENT_TYPE - 4)),
        (";" * (MAX_CONTENT_TYPE + 1), "application/octet-stream"),
        (";" * 8_000, "application/octet-stream"),
    ],
)
def test_a_content_type_above_the_limit_is_replaced(given, seen):
    environ = {"CONTENT_TYPE": given}
    served = shorten_content_type(lambda environ, _: [environ["CONTENT_TYPE"].encode()])
    assert served(environ, lambda *_: None) == [seen.encode()]
