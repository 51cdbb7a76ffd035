"""A run starts once, for a reason, as it was shown; a large refund takes a second person."""

import pytest
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.utils import IntegrityError

from console.bulk_actions import runs
from console.bulk_actions.reach import radius_now
from console.models import Action, LogEntry, Run
from payments.models import Inbox, Payment
from tests.integration.console.operators import confirmed, paid, stuck, work
from tests.integration.races import at_once

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("nudged"),
]


class TestConfirming:
    def test_a_reason_is_asked_for(self, olga):
        run = runs.begin(Action.RETRY, [stuck().id], by=olga)
        with pytest.raises(runs.Refused, match="Say why"):
            runs.confirm(run.id, by=olga, reason="  ", seen=radius_now(run).fingerprint)

    def test_what_has_changed_since_it_was_shown_is_shown_again(self, olga):
        order = paid()
        run = runs.begin(Action.CANCEL, [order.id], by=olga)
        seen = radius_now(run).fingerprint
        Payment.objects.update(amount=9_000)
        with pytest.raises(runs.Changed):
            runs.confirm(run.id, by=olga, reason="wrong price", seen=seen)

    def test_a_retry_may_have_changed_meanwhile_for_it_takes_nothing_back(self, olga):
        run = runs.begin(Action.RETRY, [stuck().id], by=olga)
        seen = radius_now(run).fingerprint
        Inbox.objects.update(state="started")
        assert runs.confirm(run.id, by=olga, reason="mended", seen=seen).state == "running"

    def test_a_draft_of_another_is_not_for_me_to_confirm(self, olga, anna):
        run = runs.begin(Action.RETRY, [stuck().id], by=olga)
        with pytest.raises(runs.Refused, match="Only who made this draft"):
            runs.confirm(run.id, by=anna, reason="me too", seen=radius_now(run).fingerprint)

    def test_clicked_twice_at_once_it_starts_once(self, olga):
        run = runs.begin(Action.RETRY, [stuck().id], by=olga)
        seen = radius_now(run).fingerprint
        answers = at_once([lambda: started(run, olga, seen)] * 4)
        assert sorted(answers) == ["Moved", "Moved", "Moved", "running"]
        assert LogEntry.objects.filter(what="requested").count() == 1


def started(run, by, seen):
    try:
        return runs.confirm(run.id, by=by, reason="The gateway is back.", seen=seen).state
    except runs.Moved:
        return "Moved"


class TestFourEyes:
    @pytest.fixture
    def large(self, olga, settings):
        settings.CONSOLE_REFUND_LIMIT = 2_000
        return confirmed(Action.CANCEL, paid(), by=olga)

    def test_a_refund_above_the_limit_waits_for_another_person(self, large):
        work()
        assert (large.state, large.items.get().state) == ("awaiting", "pending")

    def test_another_person_approves_and_it_runs(self, client, large, anna):
        client.force_login(anna)
        page = f"/admin/console/run/{large.id}/"
        seen = client.get(f"{page}change/").context["radius"].fingerprint
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

    def test_nobody_approves_what_they_have_requested(self, large, olga):
        olga.groups.add(Group.objects.get(name="approver"))
        with pytest.raises(runs.Refused, match="Another person"):
            runs.approve(large.id, by=olga, seen=radius_now(large).fingerprint)

    def test_the_database_refuses_it_as_well(self, large, olga):
        with pytest.raises(IntegrityError, match="console_run_four_eyes"), transaction.atomic():
            Run.objects.filter(id=large.id).update(decided_by=olga)

    def test_a_refund_up_to_the_limit_needs_nobody_else(self, olga, settings):
        settings.CONSOLE_REFUND_LIMIT = 2_500
        assert confirmed(Action.CANCEL, paid(), by=olga).state == "running"
