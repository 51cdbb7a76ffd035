"""Each purge deletes old rows in small transactions, finds them by an index, and keeps young rows.

The purges of failed tasks, idempotency keys, runs, the log and messages have tests of their own.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connections, transaction
from django.utils import timezone
from knox.models import AuthToken

from api.tasks import purge_logins
from audit import runs
from audit.models import AuditRun
from audit.scheduled import run_scheduled
from console.tasks import forget
from payments.models import Drift, Reconciliation
from payments.reconciliation import next_window
from payments.retention import DIFFERENCE_DAYS, RECONCILIATION_DAYS
from payments.tasks import purge_results, purge_webhook_events
from sagas import sql
from tests.integration.races import blocked_behind

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


class Purge(NamedTuple):
    """A purge of a table by a task. `add` is the statement that adds `rows` rows of the age `days`.

    `old` is the age of rows that are deleted, `young` of rows that are kept, in days.
    """

    table: str
    task: Callable[[], int]
    add: str
    old: float
    young: float
    alias: str = "default"


AGO = "now() - make_interval(secs => %(days)s * 86400.0)"
ROWS = "FROM generate_series(1, %(rows)s) n"

PURGES = {
    "sessions": Purge(
        "django_session",
        purge_logins,
        "INSERT INTO django_session (session_key, session_data, expire_date)"
        f" SELECT md5(random()::text), '', {AGO} {ROWS}",
        old=0.01,
        young=-0.01,
    ),
    "tokens": Purge(
        "knox_authtoken",
        purge_logins,
        "INSERT INTO knox_authtoken (digest, token_key, user_id, created, expiry)"
        " SELECT md5(random()::text), 'x', (SELECT max(id) FROM auth_user),"
        f" now() - interval '30 days', {AGO} {ROWS}",
        old=0.01,
        young=-0.01,
    ),
    "failed logins": Purge(
        "axes_accessattempt",
        purge_logins,
        "INSERT INTO axes_accessattempt (username, ip_address, user_agent, http_accept, path_info,"
        " attempt_time, get_data, post_data, failures_since_start)"
        f" SELECT md5(random()::text), '192.0.2.1', '', '', '', {AGO}, '', '', 1 {ROWS}",
        old=1,
        young=0,
    ),
    "history of the admin": Purge(
        "django_admin_log",
        forget,
        "INSERT INTO django_admin_log (action_time, object_repr, action_flag, change_message,"
        f" user_id) SELECT {AGO}, '', 1, '', (SELECT max(id) FROM auth_user) {ROWS}",
        old=731,
        young=729,
    ),
    "runs of the audit": Purge(
        "audit_auditrun",
        runs.purge_finished,
        "INSERT INTO audit_auditrun (since, until, phase, finished_at)"
        f" SELECT {AGO}, {AGO}, 'done', {AGO} {ROWS}",
        old=runs.KEPT_DAYS + 1,
        young=runs.KEPT_DAYS - 1,
    ),
    "webhook events": Purge(
        "payments_webhookevent",
        purge_webhook_events,
        "INSERT INTO payments_webhookevent (id, type, object_id, happened_at, received_at)"
        f" SELECT md5(random()::text), '', '', now(), {AGO} {ROWS}",
        old=31,
        young=29,
        alias="payments",
    ),
    "reconciliations": Purge(
        "payments_reconciliation",
        purge_results,
        "INSERT INTO payments_reconciliation"
        " (gateway, since, until, movements, drifts, finished_at)"
        f" SELECT 'simulated', now(), now(), 0, 0, {AGO} {ROWS}",
        old=RECONCILIATION_DAYS + 1,
        young=RECONCILIATION_DAYS - 1,
        alias="payments",
    ),
    "closed differences": Purge(
        "payments_drift",
        purge_results,
        "INSERT INTO payments_drift (id, kind, reference, ours, theirs, currency, first_seen_at,"
        " last_seen_at, closed_at, closed_by, closed_why)"
        " SELECT gen_random_uuid(), 'amount', md5(random()::text), 1, 2, 'eur',"
        f" now() - interval '800 days', {AGO}, {AGO}, 'olga', 'Corrected.' {ROWS}",
        old=DIFFERENCE_DAYS + 1,
        young=DIFFERENCE_DAYS - 1,
        alias="payments",
    ),
}

every_purge = pytest.mark.parametrize("purge", PURGES.values(), ids=PURGES)


class Deletes:
    """Collects the DELETE statements on a table: their rows, and whether each is a transaction."""

    def __init__(self, purge: Purge) -> None:
        self.purge = purge
        self.sizes: list[int] = []
        self.alone: list[bool] = []
        self.statements: list[tuple[str, Any]] = []

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        result = execute(sql, params, many, context)
        if sql.startswith(f"\nDELETE FROM {self.purge.table} "):
            self.sizes.append(context["cursor"].rowcount)
            self.alone.append(not context["connection"].in_atomic_block)
            self.statements.append((sql, params))
        return result


@contextmanager
def deletes_of(purge: Purge) -> Iterator[Deletes]:
    collected = Deletes(purge)
    with connections[purge.alias].execute_wrapper(collected):
        yield collected


@pytest.fixture(autouse=True)
def olga() -> User:
    return User.objects.create_user("olga")


def add(purge: Purge, rows: int, days: float) -> None:
    sql.run(purge.alias, purge.add, {"rows": rows, "days": days})


def number(purge: Purge) -> int:
    ((found,),) = sql.fetch(purge.alias, f"SELECT count(*) FROM {purge.table}", {})
    return int(found)


@every_purge
def test_old_rows_are_deleted_in_small_transactions_and_young_rows_are_kept(
    purge: Purge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "DELETED_AT_ONCE", 3)
    add(purge, 7, purge.old)
    add(purge, 4, purge.young)
    with deletes_of(purge) as deletes:
        assert purge.task() == 7
    assert [size for size in deletes.sizes if size] == [3, 3, 1]
    assert all(deletes.alone)
    assert number(purge) == 4
    assert purge.task() == 0


@every_purge
def test_a_batch_is_found_by_an_index(purge: Purge) -> None:
    add(purge, 20_000, purge.young)
    add(purge, 10, purge.old)
    sql.run(purge.alias, f"ANALYZE {purge.table}", {})
    with deletes_of(purge) as deletes:
        purge.task()
    assert sum(deletes.sizes) == 10
    for statement, params in deletes.statements:
        ((plan,),) = sql.fetch(purge.alias, f"EXPLAIN (FORMAT JSON) {statement}", params)
        assert '"Seq Scan"' not in json.dumps(plan), statement


def test_a_batch_has_at_most_a_thousand_rows() -> None:
    assert sql.DELETED_AT_ONCE <= 1_000


def test_a_session_that_is_in_use_goes_on(olga: User) -> None:
    session = SessionStore()
    session["user"] = olga.pk
    session.save()
    expired = SessionStore()
    expired.set_expiry(-1)
    expired.save()
    assert purge_logins() == 1
    assert [row.session_key for row in Session.objects.all()] == [session.session_key]


def test_a_row_that_is_refreshed_during_its_purge_is_kept() -> None:
    purge = PURGES["failed logins"]
    add(purge, 1, purge.old)
    with transaction.atomic():
        sql.run("default", "UPDATE axes_accessattempt SET attempt_time = now()", {})
        waiting = blocked_behind("default", purge_logins)
    assert waiting.result(timeout=60) == 0
    assert number(purge) == 1


def test_a_token_without_an_end_is_kept(olga: User) -> None:
    AuthToken.objects.create(user=olga, expiry=None)
    assert purge_logins() == 0


def test_the_end_of_an_audit_deletes_old_runs() -> None:
    purge = PURGES["runs of the audit"]
    add(purge, 2, purge.old)
    while run_scheduled(60).unfinished:
        pass
    assert number(purge) == 1
    assert AuditRun.objects.get().finished_at


def window(days: float, **fields: Any) -> Reconciliation:
    """Return a window that was compared a number of days ago."""
    then = timezone.now() - timedelta(days=days)
    values = {"gateway": "simulated", "finished_at": then, **fields}
    return Reconciliation.objects.create(since=then, until=then, movements=0, drifts=0, **values)


def test_the_last_window_of_each_gateway_is_kept_because_the_next_one_begins_there() -> None:
    old = RECONCILIATION_DAYS + 1
    window(old + 1), window(old + 1, gateway="stripe"), window(old, scheduled=False)
    last = {window(old).id, window(old, gateway="stripe").id}
    begins = next_window("stripe")
    assert purge_results() == 3
    assert set(Reconciliation.objects.values_list("id", flat=True)) == last
    assert next_window("stripe")[0] == begins[0]


def test_an_unfinished_window_of_a_command_is_deleted_only_if_it_is_old() -> None:
    old = RECONCILIATION_DAYS + 1
    window(old, scheduled=False, finished_at=None)
    in_progress = window(old, finished_at=None)
    window(old)
    kept = [
        in_progress,
        window(old, scheduled=False, finished_at=None),
        window(1),
        window(0, scheduled=False, finished_at=None),
    ]
    assert purge_results() == 2
    assert set(Reconciliation.objects.all()) == set(kept)


def difference(reference: str, **ages: float) -> None:
    """Add a difference. The ages, in days: `closed_at`, if it is closed, and `last_seen_at`."""
    values: dict[str, Any] = {
        name: timezone.now() - timedelta(days=days) for name, days in ages.items()
    }
    if "closed_at" in ages:
        values |= {"closed_by": "olga", "closed_why": "Corrected."}
    Drift.objects.create(
        kind="amount", reference=reference, ours=1, theirs=2, currency="eur", **values
    )


def test_an_open_or_recurring_difference_is_kept() -> None:
    old = DIFFERENCE_DAYS + 1
    difference("open", last_seen_at=old)
    difference("seen", last_seen_at=1, closed_at=old)
    difference("over", last_seen_at=old, closed_at=old)
    assert purge_results() == 1
    assert set(Drift.objects.values_list("reference", flat=True)) == {"open", "seen"}
