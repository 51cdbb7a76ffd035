"""`doctor` asks the broker whether it stores its data, evicts nothing, and accepts writes."""

import pytest

from tests.integration.doctor.harness import as_user, doctor, second_broker, wrong

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.outside]


@wrong("broker")
def test_a_broker_that_stores_nothing_and_evicts(tmp_path):
    with second_broker(tmp_path, "appendonly no", "maxmemory-policy allkeys-lru") as url:
        found = doctor("--only", "broker", environ={"CELERY_BROKER_URL": url})
    assert found.code == 1
    assert len(found.faults) == 2
    assert "broker: stores nothing" in found.faults[0]
    assert "broker: maxmemory-policy allkeys-lru" in found.faults[1]


@wrong("broker")
def test_a_replica(tmp_path, broker_address):
    host, port = broker_address
    with second_broker(tmp_path, f"replicaof {host} {port}") as url:
        found = doctor("--only", "broker", environ={"CELERY_BROKER_URL": url})
    assert found.code == 1
    assert len(found.faults) == 2
    assert "broker: is a slave" in found.faults[0]
    assert "broker: refuses a write" in found.faults[1]


@wrong("broker")
def test_a_broker_whose_memory_is_full(tmp_path):
    with second_broker(tmp_path, "maxmemory 1") as url:
        found = doctor("--only", "broker", environ={"CELERY_BROKER_URL": url})
    assert found.code == 1
    (line,) = found.faults
    assert "broker: refuses a write" in line
    assert "maxmemory" in line


def test_a_user_who_may_not_ask_gets_unknown_and_never_proved(tmp_path):
    user = "user asker on >asker ~* &* +@all -info -config"
    with second_broker(tmp_path, user, "appendonly no") as url:
        asker = as_user(url, "asker", "asker")
        found = doctor("--only", "broker", environ={"CELERY_BROKER_URL": asker})
    assert found.faults == []
    assert len(found.unknown) == 3
    assert "stores its data" in found.unknown[0]
    assert [line.split(" | ")[0] for line in found.proved] == ["broker: accepts a write"]


def test_snapshots_are_enough(tmp_path):
    with second_broker(tmp_path, "appendonly no", "save 900 1") as url:
        found = doctor("--only", "broker", environ={"CELERY_BROKER_URL": url})
    assert found.code == 0
    assert "broker: stores its data in snapshots (save 900 1) | " in found.proved


def test_a_right_broker():
    found = doctor("--only", "broker")
    assert (found.code, found.faults, found.unknown) == (0, [], [])
    assert len(found.proved) == 4
