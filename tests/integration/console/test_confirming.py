"""A run starts once, with a reason and as previewed; a large refund needs a second person."""

import pytest
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.utils import IntegrityError

from console.bulk_actions import runs
from console.bulk_actions.results import NotAllowed, StalePreview, StateConflict
from console.models import Run
from payments.models import Inbox, Payment
from staff.models import LogEntry
from tests.integration.console.operators import confirmed, paid, stuck, work
from tests.integration.races import at_once

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("flushed"),
]


class TestConfirming:
    def test_a_reason_is_asked_for(self, olga):
        run = runs.draft("retry", [stuck().id], by=olga)
        with pytest.raises(NotAllowed, match="Give a reason"):
            runs.confirm(run.id, by=olga, reason="  ", fingerprint=runs.preview(run).fingerprint)

    def test_a_cancel_whose_preview_has_changed_is_not_confirmed(self, olga):
        order = paid()
        run = runs.draft("cancel", [order.id], by=olga)
        seen = runs.preview(run).fingerprint
        Payment.objects.update(captured_amount=9_000)
        with pytest.raises(StalePreview):
            runs.confirm(run.id, by=olga, reason="wrong price", fingerprint=seen)

    def test_a_retry_may_have_changed_meanwhile_for_it_takes_nothing_back(self, olga):
        run = runs.draft("retry", [stuck().id], by=olga)
        seen = runs.preview(run).fingerprint
        Inbox.objects.update(state="started")
        assert runs.confirm(run.id, by=olga, reason="mended", fingerprint=seen).state == "running"

    def test_a_draft_of_another_is_not_for_me_to_confirm(self, olga, anna):
        run = runs.draft("retry", [stuck().id], by=olga)
        with pytest.raises(NotAllowed, match="Only the author of this draft"):
            runs.confirm(
                run.id, by=anna, reason="me too", fingerprint=runs.preview(run).fingerprint
            )

    def test_clicked_twice_at_once_it_starts_once(self, olga):
        run = runs.draft("retry", [stuck().id], by=olga)
        seen = runs.preview(run).fingerprint
        answers = at_once([lambda: started(run, olga, seen)] * 4)
        assert sorted(answers) == ["Moved", "Moved", "Moved", "running"]
        assert LogEntry.objects.filter(what="requested").count() == 1


def started(run, by, seen):
    try:
        return runs.confirm(run.id, by=by, reason="The gateway is back.", fingerprint=seen).state
    except StateConflict:
        return "Moved"


class TestFourEyes:
    @pytest.fixture
    def large(self, olga, settings):
        settings.CONSOLE_REFUND_LIMIT = 2_000
        return confirmed("cancel", paid(), by=olga)

    def test_a_refund_above_the_limit_waits_for_another_person(self, large):
        work()
        assert (large.state, large.items.get().state) == ("awaiting", "pending")

    def test_another_person_approves_and_it_runs(self, client, large, anna):
        client.force_login(anna)
        page = f"/admin/console/run/{large.id}/"
        seen = client.get(f"{page}change/").context["impact"].fingerprint
        client.post(f"{page}approve/", {"seen": seen})
        work()
        large.refresh_from_db()
        assert (large.state, large.decided_by, large.items.get().state) == ("ended", anna, "done")

    def test_another_person_declines_and_nothing_runs(self, client, large, anna):
        client.force_login(anna)
        client.post(f"/admin/console/run/{large.id}/decline/")
        work()
        large.refresh_from_db()
        assert (large.state, large.items.get().state) == ("declined", "pending")

    def test_a_requester_cannot_approve_the_own_run(self, large, olga):
        olga.groups.add(Group.objects.get(name="approver"))
        with pytest.raises(NotAllowed, match="another person must"):
            runs.approve(large.id, by=olga, fingerprint=runs.preview(large).fingerprint)

    def test_the_database_refuses_it_as_well(self, large, olga):
        with pytest.raises(IntegrityError, match="console_run_four_eyes"), transaction.atomic():
            Run.objects.filter(id=large.id).update(decided_by=olga)

    def test_a_refund_up_to_the_limit_needs_no_approval(self, olga, settings):
        settings.CONSOLE_REFUND_LIMIT = 2_500
        assert confirmed("cancel", paid(), by=olga).state == "running"
