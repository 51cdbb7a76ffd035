"""The client's address: proxies' notations, forged entries, and unknown clients."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from django.conf import settings
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from api.requests import client_ip as module
from api.requests.client_ip import client_ip, parse_address

PROXY = "10.0.0.1"
HEADER_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=200)


def seen(forwarded, *, proxies=1, remote=PROXY, settings):
    settings.TRUSTED_PROXIES = proxies
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    return client_ip(RequestFactory().get("/", headers=headers, REMOTE_ADDR=remote))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("[192.0.2.1]", None),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:201", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:4711", "192.0.2.1"),
        ("64:ff9b::192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::"),
        ("2001:db8:0:0:1:2:3:4", "2001:db8::"),
        ("2001:db8:0:1::1", "2001:db8:0:1::"),
        ("[2001:db8::1]", "2001:db8::"),
        ("[2001:db8::1]:443", "2001:db8::"),
        ("fe80::1%eth0", "fe80::"),
        ("[fe80::1%eth0]:443", "fe80::"),
        ("", None),
        ("unknown", None),
        ("_hidden", None),
        ("_SEVKISEK", None),
        ("nonsense", None),
        ("192.0.2", None),
        ("192.0.2.256", None),
        ("0192.0.2.1", None),
        ("192.0.2.1:", None),
        ("192.0.2.1:x", None),
        ("192.0.2.1:123456", None),
        ("2001:db8::1]", None),
        ("[2001:db8::1", None),
        ("[]", None),
        ('"[2001:db8::1]"', None),
        ("for=192.0.2.1", None),
        ("1" * 8000, None),
        ("[" + "1:" * 4000 + "]", None),
    ],
)
def test_each_notation_of_an_address(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("forwarded", "proxies", "address"),
    [
        ("198.51.100.1", 1, "198.51.100.1"),
        ("192.0.2.66, 198.51.100.1", 1, "198.51.100.1"),
        ("192.0.2.66,198.51.100.1:80", 1, "198.51.100.1"),
        ("198.51.100.1, 10.0.0.2", 2, "198.51.100.1"),
        ("192.0.2.66, 198.51.100.1, 10.0.0.2", 2, "198.51.100.1"),
        (",, 198.51.100.1 , ,", 1, "198.51.100.1"),
        ("192.0.2.66,, 198.51.100.1", 1, "198.51.100.1"),
        ("192.0.2.66, unknown", 1, None),
        ("192.0.2.66, _hidden", 1, None),
        ("198.51.100.1", 2, None),
        (" , ,198.51.100.1", 2, None),
        ("", 1, None),
        (None, 1, None),
        (None, 0, PROXY),
        ("198.51.100.1", 0, PROXY),
        ("unknown", 0, PROXY),
    ],
)
def test_only_the_entries_of_our_proxies_count(forwarded, proxies, address, settings):
    assert seen(forwarded, proxies=proxies, settings=settings) == address


@pytest.mark.parametrize(
    ("remote", "address"),
    [("::ffff:192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::"), ("", None), ("x", None)],
)
def test_without_a_proxy_the_connection_counts(remote, address, settings):
    assert seen("198.51.100.1", proxies=0, remote=remote, settings=settings) == address


def test_the_header_forwarded_is_not_read(settings):
    settings.TRUSTED_PROXIES = 1
    headers = {"Forwarded": "for=192.0.2.66", "X-Forwarded-For": "198.51.100.1"}
    assert client_ip(RequestFactory().get("/", headers=headers)) == "198.51.100.1"


@given(forged=HEADER_TEXT, others=st.lists(st.ip_addresses().map(str), max_size=3))
def test_a_client_cannot_choose_its_address(forged, others):
    entries = [forged, "198.51.100.1", *others]
    request = RequestFactory().get("/", headers={"X-Forwarded-For": ", ".join(entries)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "TRUSTED_PROXIES", 1 + len(others))
        assert client_ip(request) == "198.51.100.1"


@given(text=HEADER_TEXT)
def test_a_counted_address_is_an_address_or_unknown(text):
    address = parse_address(text)
    assert address is None or parse_address(address) == address


@given(address=st.ip_addresses(v=4))
def test_ipv4_is_the_same_in_every_notation(address: IPv4Address):
    mapped = IPv6Address(f"::ffff:{address}")
    notations = (str(address), f"{address}:80", str(mapped), f"[{mapped}]:80", mapped.exploded)
    assert {parse_address(notation) for notation in notations} == {str(address)}


def test_an_unknown_client_is_logged_once_in_a_while(settings, caplog, monkeypatch):
    monkeypatch.setattr(module, "_unknown", module._UnknownClients())
    for _ in range(5):
        assert seen("unknown", settings=settings) is None
    logged = [record.message for record in caplog.records]
    assert len(logged) == 1
    assert "TRUSTED_PROXIES is 1" in logged[0]
