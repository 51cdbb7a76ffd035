"""Limits of calls on real workers: over all processes, and changed while they run."""

import pytest

from sagas.definition.limits import Limit
from sagas.storage import call_limits
from tests.broker import empty
from tests.processes import LIMIT, beat, until, worker
from tests.trips.harness import TRIPS, begin
from tests.trips.models import Inbox

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.system,
    pytest.mark.faults,
]

QUICK = {"OUTBOX_FLUSH_SECONDS": "0.2"}

# Calls of two keys. At one call a second, the first ones take longer than a test waits.
BUSY, FREE = LIMIT + 20, 20


def limit(key, **most):
    call_limits.set_limit(TRIPS, key, Limit(**most), by="olga", why="The bank asks for it.")


def times(folder, bank):
    """Return when each call of a bank was made."""
    found = [path.read_text() for path in folder.glob(f"{bank} *")]
    return sorted(float(at) for at in found if at)


def most_in_a_second(calls):
    return max(sum(at <= other < at + 1 for other in calls) for at in calls)


def test_no_second_has_more_calls_than_the_limit_and_another_key_is_not_slower(tmp_path):
    empty()
    limit("bank/*", per_second=1)
    limit("bank/free")
    begin(names=[f"ask bank/busy in {tmp_path}"] * BUSY)
    more = ["--pool", "prefork", "--concurrency", "2"]
    with (
        worker("trips", environ=QUICK, more=more) as process,
        worker("trips", environ=QUICK, more=more) as second,
        beat(environ=QUICK),
    ):
        until(lambda: times(tmp_path, "bank-busy"), "the first call is made", process=process)
        begin(names=[f"ask bank/free in {tmp_path}"] * FREE)
        until(lambda: len(times(tmp_path, "bank-free")) == FREE, "the other key is served")
        assert len(times(tmp_path, "bank-busy")) < BUSY / 4, "The other key waited for the backlog."

        until(lambda: len(times(tmp_path, "bank-busy")) >= 5, "some are served", process=second)
        assert most_in_a_second(times(tmp_path, "bank-busy")) == 1
        assert Inbox.objects.filter(step="trips.pay", state="waiting", attempts=0).exists()

        limit("bank/busy", per_second=1_000)
        until(lambda: len(times(tmp_path, "bank-busy")) == BUSY, "all are served", process=process)
        until(
            lambda: Inbox.objects.filter(step="trips.pay", state="done").count() == BUSY + FREE,
            "all are paid",
            process=process,
        )

    paid = Inbox.objects.filter(step="trips.pay")
    assert set(paid.values_list("attempts", "losses", "excused")) == {(1, 0, 0)}
