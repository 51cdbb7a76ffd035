"""The commands of an operator in a project that has only the wheel. Both apps share a database."""

import json

import pytest

from tests.package.project import until
from tests.package.test_host import await_end, new_host, place, take_back

pytestmark = pytest.mark.package

REASON = ("--reason", "The bank is down.", "--yes")
BASELINE = "saga_schemas.json"


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    return new_host(tmp_path_factory.mktemp("commands"))


def saga(host, *arguments, ok=True):
    return host.manage("saga", *arguments, ok=ok)


def test_a_saga_is_listed_shown_held_and_released(host):
    order = place(host, 60)
    assert order in saga(host, "list", "--open", "--kind", "Order", "--step", "bank.book")
    assert "--yes" in saga(host, "hold", order, "--reason", "The bank is down.", ok=False)
    assert "On hold before its next step." in saga(host, "hold", order, "--by", "olga", *REASON)
    shown = saga(host, "show", order)
    assert "the release of its hold, by olga: The bank is down." in shown
    assert "bank.book" in shown
    assert [each["id"] for each in json.loads(saga(host, "list", "--on-hold", "--json"))["sagas"]]
    with host.worker():
        held = "SELECT count(*) FROM bank_inbox WHERE saga = %s AND state = 'held'"
        until(lambda: host.value(held, order), "the step is held")
        assert "Released." in saga(host, "release", order, *REASON)
        await_end(host, order, "confirmed")
    assert "Nothing is changed." in saga(host, "cancel", order, *REASON)


def test_a_saga_of_the_other_kind_is_cancelled(host):
    taken_back = take_back(host, 20)
    assert "Cancelling" in saga(host, "cancel", taken_back, *REASON)
    with host.worker():
        await_end(host, taken_back, "kept")
    assert "cancelled_by_operator" in saga(host, "show", taken_back)


def test_the_upgrade_check_finds_a_step_that_an_open_saga_needs(host):
    order = place(host, 70)
    steps = host.folder / "bank" / "steps.py"
    text = steps.read_text()
    assert "strands no saga" in host.manage("upgrade_check", "--before", "workers")
    # A worker that is gone counts as alive for half a minute.
    host.shell("from sagas.operations.heartbeats import _redis; _redis().flushdb()")
    assert "No live worker takes the queue" in host.manage("upgrade_check", ok=False)
    try:
        steps.write_text(text.replace('"bank.book"', '"bank.reserve"'))
        found = host.manage("upgrade_check", "--before", "workers", ok=False)
        assert "bank.book: 1 open sagas may still run it" in found
        assert order in found
    finally:
        steps.write_text(text)
    with host.worker():
        await_end(host, order, "confirmed")
        assert "strands no saga" in host.manage("upgrade_check")


def test_the_upgrade_check_finds_a_context_that_a_step_cannot_read(host):
    order = place(host, 80)
    steps = host.folder / "bank" / "steps.py"
    text = steps.read_text()
    host.manage("upgrade_check", "--write-baseline")
    assert (host.folder / BASELINE).exists()
    try:
        field = "class Money(Struct, frozen=True):\n    amount: int\n"
        steps.write_text(text.replace(field, f"{field}    branch: str\n"))
        found = host.manage("upgrade_check", "--before", "workers", ok=False)
        assert "bank.book: it cannot read the context of 1 open sagas" in found
        assert "bank.book: it needs the new field 'branch'" in found
    finally:
        steps.write_text(text)
    with host.worker():
        await_end(host, order, "confirmed")
