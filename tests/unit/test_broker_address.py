"""The address of the broker: TLS is verified, and brokers that do not work are refused."""

import os
from typing import Any
from urllib.parse import parse_qs, urlsplit

import environ
import pytest
from django.core.exceptions import ImproperlyConfigured
from kombu import Connection
from redis import Redis
from redis.connection import SSLConnection

from config.broker import broker_url, redis_url
from sagas.celery.bounded_reply import BoundedSSLConnection


def env(**variables):
    reader = environ.Env()
    reader.ENVIRON = variables
    return reader


@pytest.mark.parametrize(
    "url",
    [
        "amqp://guest@broker.example//",
        "pyamqp://broker.example//",
        "sentinel://sentinel.example:26379/0",
        "sqs://key:secret@",
        "memory://",
        "unix:///run/redis.sock",
        "redis+socket:///run/redis.sock",
        "broker.example:6379",
        "redis://one.example/0;redis://two.example/0",
    ],
)
def test_a_broker_that_does_not_work_is_refused_without_showing_its_password(url):
    for read in (redis_url, lambda settings: broker_url(settings, default=url)):
        with pytest.raises(ImproperlyConfigured, match="Only one Redis or Valkey") as refused:
            read(env(REDIS_URL=url))
        assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "option",
    [
        "ssl_cert_reqs=none",
        "ssl_cert_reqs=CERT_NONE",
        "ssl_cert_reqs=optional",
        "ssl_check_hostname=False",
    ],
)
def test_tls_without_verification_is_refused(option):
    with pytest.raises(ImproperlyConfigured, match="verification of the server's certificate"):
        redis_url(env(REDIS_URL=f"rediss://broker.example/0?{option}"))


def test_an_address_that_mixes_plaintext_and_tls_is_refused():
    with pytest.raises(ImproperlyConfigured, match="not encrypted"):
        redis_url(env(REDIS_URL="redis://broker.example/0?ssl_cert_reqs=required"))


def test_a_missing_authority_is_refused(tmp_path):
    variables = {
        "REDIS_URL": "rediss://broker.example/0",
        "BROKER_CA_FILE": str(tmp_path / "ca.pem"),
    }
    with pytest.raises(ImproperlyConfigured, match=r"ca\.pem does not exist"):
        redis_url(env(**variables))


def test_plaintext_addresses_stay_as_they_are():
    assert redis_url(env(REDIS_URL="redis://:secret@broker/0")) == "redis://:secret@broker/0"


def test_every_client_of_a_tls_address_verifies_the_server(tmp_path):
    authority = tmp_path / "ca.pem"
    authority.touch()
    url = redis_url(
        env(REDIS_URL="rediss://:secret@broker.example/3", BROKER_CA_FILE=str(authority))
    )
    options = parse_qs(urlsplit(url).query)
    assert options["ssl_ca_certs"] == [str(authority)]

    client = Redis.from_url(url)
    assert client.connection_pool.connection_class is SSLConnection
    assert client.connection_pool.connection_kwargs["ssl_cert_reqs"] == "required"

    with Connection(url, transport="sagas.celery.transport:Transport") as connection:
        assert connection.ssl == {
            "ssl_cert_reqs": 2,
            "ssl_check_hostname": True,
            "ssl_ca_certs": str(authority),
        }
        channel: Any = connection.transport.Channel  # type: ignore[attr-defined]
        assert channel.connection_class_ssl is BoundedSSLConnection


@pytest.mark.parametrize(
    "variable", ["CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"]
)
def test_the_variables_that_celery_reads_itself_are_checked_too(monkeypatch, variable):
    monkeypatch.setenv(variable, "amqp://broker.example//")
    with pytest.raises(ImproperlyConfigured, match=f"{variable} has the scheme 'amqp'"):
        broker_url(environ.Env(), default="redis://broker.example/0")

    monkeypatch.setenv(variable, "rediss://broker.example/0")
    broker_url(environ.Env(), default="redis://broker.example/0")
    assert "ssl_cert_reqs=required" in os.environ[variable]
