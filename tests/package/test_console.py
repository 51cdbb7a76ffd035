"""The console in a project that has only the wheel, set up by the code of docs/console.md."""

import re

import pytest

from tests.package.conftest import QUICKSTART, SETTINGS
from tests.package.project import code_blocks, until
from tests.package.test_host import new_host, place

pytestmark = pytest.mark.package

PAGE = QUICKSTART.with_name("console.md")

CLIENT = """
from django.contrib.auth.models import Group, User
from django.test import Client

def client_of(name, *groups):
    user, created = User.objects.get_or_create(username=name, defaults={"is_staff": True})
    user.groups.set(Group.objects.filter(name__in=groups))
    client = Client(HTTP_HOST="localhost")
    client.force_login(user)
    return client

olga, nina = client_of("olga", "operator"), client_of("nina")
"""

PAGES = (
    CLIENT
    + """
paths = ["/admin/", "/admin/live/", "/admin/sagas/", "/admin/failures/", "/admin/holds/",
         "/admin/shop/order/", "/admin/shop/order/{order}/change/", "/admin/sagas/{order}/export/",
         "/admin/shop/outbox/", "/admin/bank/inbox/", "/admin/console/run/",
         "/admin/staff/logentry/", "/admin/django_celery_results/taskresult/"]
for path in paths:
    answers = [client.get(path, follow=True) for client in (olga, nina)]
    print("page", path, *(answer.status_code for answer in answers))
page = olga.get("/admin/shop/order/{order}/change/").content.decode()
listed = olga.get("/admin/shop/order/?show=all").content.decode()
print("shown", "0.70 EUR" in page, "/invoices/{order}/" in page, "<svg" in page,
      "bank.book" in page, "0.70 EUR" in listed, "Customer olga" in listed)
start = olga.get("/admin/").content.decode()
print("start", "Need attention" in start, "On hold" in start, "of orders" in start)
"""
)

ACT = (
    CLIENT
    + """
refused = nina.post("/admin/sagas/{order}/act/", {"action": "{action}"})
draft = olga.post("/admin/sagas/{order}/act/", {"action": "{action}"})
run = draft.headers["Location"]
preview = olga.get(run).content.decode()
seen = preview.partition('name="seen" value="')[2].partition('"')[0]
run_id = run.split("/")[4]
without = olga.post(f"/admin/console/run/{run_id}/confirm/", {"seen": seen, "reason": ""})
answer = olga.post(f"/admin/console/run/{run_id}/confirm/", {"seen": seen, "reason": "A test."})
print("act", refused.status_code, "Preview" in preview, answer.status_code, run_id)
"""
)

LOG = "SELECT what, who, why, outcome FROM console_logentry WHERE action = %s ORDER BY seq"


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    project = new_host(tmp_path_factory.mktemp("console"))
    project.write(code_blocks(PAGE.read_text()), append=(SETTINGS,))
    project.manage("migrate", "-v0")
    return project


def act(host, order, action):
    """Draft and confirm an action in the console; return the run's id."""
    output = host.shell(ACT.replace("{order}", order).replace("{action}", action))
    found = re.search(r"^act 403 True 302 (\S+)$", output, re.MULTILINE)
    assert found, output
    return found[1]


def test_the_project_is_well_and_its_migrations_are_complete(host):
    assert "no issues" in host.manage("check")
    assert "No changes" in host.manage("makemigrations", "--check", "--dry-run")


def test_pages_answer_an_operator_and_refuse_staff_without_a_right(host):
    order = place(host, 70)
    output = host.shell(PAGES.replace("{order}", order))
    pages = dict(re.findall(r"^page (\S+) (\d+ \d+)$", output, re.MULTILINE))
    assert len(pages) == 13, output
    assert pages.pop("/admin/") == "200 200"
    assert set(pages.values()) == {"200 403"}, output
    assert "shown True True True True True True" in output
    assert "start True True False" in output


def test_a_hold_and_its_release_act_on_the_saga_and_are_in_the_log(host):
    order = place(host, 60)
    act(host, order, "hold")
    with host.worker():
        holds = "SELECT count(*) FROM shop_hold WHERE saga = %s"
        until(lambda: host.value(holds, order), "the saga is on hold")
        act(host, order, "release")
        ended = "SELECT ended_at FROM shop_order WHERE id = %s"
        until(lambda: host.value(ended, order), "the saga goes on to its end")

    kinds = [what for what, *_ in host.query(LOG, "hold")]
    assert kinds[:2] == ["refused", "refused"]  # by a right that is missing, and without a reason
    assert [why for what, _, why, _ in host.query(LOG, "hold") if what == "acted"] == ["A test."]
    assert "intact" in host.manage("verify_log").lower()


def test_a_cancel_is_a_run_whose_money_is_unknown_and_undoes_the_saga(host):
    order = place(host, 50)
    act(host, order, "cancel")
    with host.worker():
        status = "SELECT status FROM shop_order WHERE id = %s AND ended_at IS NOT NULL"
        until(lambda: host.value(status, order) == "cancelled", "the saga is undone")
    [outcome] = [entry[3] for entry in host.query(LOG, "cancel") if entry[0] == "requested"]
    assert "no known money refunded" in outcome


def test_the_saga_command_asks_for_a_member_of_staff_and_logs(host):
    order = place(host, 40)
    held = host.manage("saga", "hold", order, "--reason", "A test.", "--yes", ok=False)
    assert "--by" in held
    held = host.manage("saga", "hold", order, "--by", "olga", "--reason", "By shell.", "--yes")
    assert "On hold" in held
    assert any(why == "By shell." for _, _, why, _ in host.query(LOG, "hold"))
