"""The log of operators only grows, and the page of a run shows its progress."""

import pytest
from django.db import connection, transaction
from django.db.models import ProtectedError
from django.db.utils import IntegrityError

from console.bulk_actions import runs
from staff.models import LogEntry
from tests.integration.console.conftest import client_of
from tests.integration.console.operators import confirmed, stuck, work

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("flushed"),
]


class TestLog:
    def test_an_entry_holds_person_action_reason_and_outcome(self, operator, olga):
        order = stuck()
        confirmed("retry", order, by=olga)
        work()
        rows = LogEntry.objects.order_by("id").values_list(
            "who", "what", "action", "order_id", "why", "outcome"
        )
        assert list(rows)[1:] == [
            ("olga", "acted", "retry", order.id, "The gateway is back.", "1 step made due now."),
            ("olga", "ended", "retry", None, "The gateway is back.", "1 done."),
        ]
        page = operator.get(f"/admin/orders/order/{order.id}/change/").content.decode()
        assert "1 step made due now." in page

    @pytest.mark.parametrize(
        "change", ["UPDATE console_logentry SET why = 'x'", "DELETE FROM console_logentry"]
    )
    def test_the_database_refuses_to_change_it(self, olga, change):
        confirmed("retry", stuck(), by=olga)
        with (
            pytest.raises(IntegrityError, match="only grows"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(change)

    def test_the_log_is_read_only_in_the_admin(self, admin_client, olga):
        confirmed("retry", stuck(), by=olga)
        entry = LogEntry.objects.get()
        for page in ("change", "delete"):
            assert (
                admin_client.post(
                    f"/admin/staff/logentry/{entry.pk}/{page}/", {"post": "yes"}
                ).status_code
                == 403
            )
        assert admin_client.get("/admin/staff/logentry/add/").status_code == 403

    def test_the_entry_of_a_rejected_confirmation_has_the_reason_that_the_person_gave(
        self, operator, olga
    ):
        run = runs.draft("cancel", [stuck().id], by=olga)
        operator.post(f"/admin/console/run/{run.id}/confirm/", {"reason": "Late.", "seen": "old"})
        entry = LogEntry.objects.get()
        assert (entry.what, entry.why) == ("failed", "Late.")
        assert entry.outcome.startswith("The impact has changed")

    def test_the_requester_of_a_run_cannot_be_deleted(self, olga):
        confirmed("retry", stuck(), by=olga)
        with pytest.raises(ProtectedError):
            olga.delete()


def test_the_page_of_a_run_renews_itself_while_it_runs_and_stops_when_it_has_ended(operator, olga):
    run = confirmed("retry", stuck(), by=olga)
    progress = f"/admin/console/run/{run.id}/progress/"
    assert 'hx-trigger="every 1s"' in operator.get(progress).content.decode()
    work()
    page = operator.get(progress).content.decode()
    assert "hx-trigger" not in page
    assert "1 step made due now." in page


def test_progress_needs_the_permission_to_view_runs(olga):
    run = runs.draft("retry", [stuck().id], by=olga)
    assert client_of("sid").get(f"/admin/console/run/{run.id}/progress/").status_code == 403
