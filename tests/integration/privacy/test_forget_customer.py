"""`forget_customer` anonymises a person everywhere, keeps the books whole, and exports all data."""

import json
import sys
from datetime import timedelta
from io import StringIO
from uuid import uuid4

import pytest
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.apps import apps
from django.contrib.admin.models import CHANGE
from django.contrib.admin.models import LogEntry as AdminLogEntry
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import connections, models, router, transaction
from django.db.models import Value
from django.db.models.functions import Concat
from django.test import Client
from django.utils import timezone
from django_celery_results.models import TaskResult
from knox.models import AuthToken

from api.auth.tokens import issue_token
from audit.load import saga_services
from audit.run import audit
from console.models import Run, RunItem
from inventory.models import Reservation, StockItem
from orders.models import IdempotencyKey, Order, OrderLine
from payments.models import Dispute, Drift, PartialRefund, Payment, SimulatedCharge
from privacy import forgetting
from privacy.places import ANONYMISED
from returns.models import IdempotencyKey as ReturnKey
from returns.models import Return, ReturnLine
from returns.saga import RETURN_GOODS
from sagas import sql
from sagas.ids import uuid7
from sagas.testing import story
from services import NAMES
from staff.models import LogEntry
from tests.integration.audit.conftest import place_and_end_orders
from tests.integration.audit.harness import PUBLISHED
from tests.integration.orders import harness
from tests.integration.returns.factories import RECEIVE, ask, received

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

NAME, MAIL, FULL, KEY = "ada.lovelace", "ada@example.org", "Ada Lovelace", "adas-secret-key"
METHOD, ADDRESS, AGENT = "pm_of_ada_lovelace", "203.0.113.7", "Browser of Ada"
LINK = "https://pay/ada"
PERSON = (NAME, METHOD, KEY, MAIL, MAIL.upper(), FULL, ADDRESS, AGENT, LINK)

# A customer chooses the payment method, so it may be equal to a code that the books need.
AMBIGUOUS = "eur"

PERSONAL = {
    "payment_method": METHOD,
    "idempotency_key": KEY,
    "request_id": "of-ada.lovelace",
    "deep": [{"text": f"{FULL} <{MAIL}>"}, f"write to {MAIL.upper()}"],
}

# Free texts of staff, and the log, which cannot be changed. The command does not reach them.
NOT_REACHED = {"console_run", "console_logentry"}


def run(*arguments):
    out = StringIO()
    call_command("forget_customer", *arguments, stdout=out)
    return out.getvalue()


def forget(name=NAME):
    return run(name, "--apply", "--reason", "request 17")


def project_models():
    """All models of the project and of its libraries, but not those of tests."""
    every = apps.get_models(include_auto_created=True)
    return [model for model in every if not model.__module__.startswith("tests.")]


def everything():
    """All texts in all tables of all databases, with the table of each."""
    found = []
    for model in project_models():
        table = model._meta.db_table
        with connections[router.db_for_read(model)].cursor() as cursor:
            cursor.execute(f"SELECT row_to_json(held)::text FROM {table} held")
            found += [(table, row[0]) for row in cursor.fetchall()]
    return sorted(found)


def tables_with(*words):
    return {table for table, text in everything() if any(word in text for word in words)}


def violations():
    """The violations that the audit finds."""
    return [
        (verdict.invariant.id, *violation)
        for verdict in audit().verdicts
        for violation in verdict.shown
    ]


def books():
    """All figures of orders, payments and stock."""
    return {
        model.__name__: sorted(model._default_manager.values_list(*names))
        for model, names in {
            Order: ("id", "amount", "currency", "status", "user_id", "failure_code"),
            Return: ("id", "order_id", "amount", "currency", "status", "user_id", "failure_code"),
            ReturnLine: ("id", "of_return_id", "sku", "quantity", "received", "resellable"),
            OrderLine: ("id", "order_id", "sku", "quantity", "unit_amount"),
            Payment: ("id", "status", "amount", "refunded_amount", "currency", "charge_key"),
            SimulatedCharge: ("id", "amount", "currency"),
            Reservation: ("id", "order_id", "item_id", "quantity", "state"),
            StockItem: ("id", "on_hand", "reserved", "shipped", "returned"),
        }.items()
    }


@pytest.fixture(autouse=True)
def _command(monkeypatch):
    """Let this process be the command, so that the signals of users log its changes."""
    monkeypatch.setattr(sys, "argv", ["manage.py", "forget_customer"])


@pytest.fixture
def ada():
    """A customer with orders of every kind that have ended, and with data in every place."""
    place_and_end_orders()
    user = User.objects.create_user(
        NAME, MAIL, "a password", first_name="Ada", last_name="Lovelace", last_login=timezone.now()
    )
    user.user_permissions.add(Permission.objects.earliest("id"))
    orders = settled_orders()
    returned = return_of(orders)
    late = timezone.now() - timedelta(days=2)
    Order.objects.filter(id__in=orders).update(
        user=user, ended_at=late, payment_method=METHOD, action={"url": LINK}
    )
    Return.objects.update(user=user, ended_at=late)
    Payment.objects.update(follow_at=None)
    Payment.objects.filter(order_id__in=orders).update(payment_method=METHOD)
    Order.objects.filter(id=orders[-1]).update(payment_method=AMBIGUOUS)
    add_rows_of_staff(orders)
    for place in ANONYMISED:
        plant(place, [*orders, returned])
    add_logins(user, orders)
    return user


def settled_orders():
    open_payments = Payment.objects.filter(status__in=("pending", "authorized"))
    undecided = set(open_payments.values_list("order_id", flat=True))
    ended = Order.objects.exclude(ended_at=None).exclude(id__in=undecided).order_by("id")
    orders = list(ended.values_list("id", flat=True))
    assert len(orders) > 5
    return orders


def return_of(orders):
    """Return a mug of one of the orders, and complete the return; return its id."""
    order = Order.objects.filter(id__in=orders, status="fulfilled").earliest("id")
    told = story(RETURN_GOODS, lambda: ask(order, MUG=1)).signals(RECEIVE, received(MUG=1)).run()
    told.expect(ended="done")
    for service in saga_services():
        sql.run(service.alias, PUBLISHED.format(outbox=service.outbox), {})
    return told.saga


def plant(place, orders):
    """Write the person into every text and document of a table, except for codes."""
    texts = [name for name in place.texts if name != "payment_method"]
    changes = [
        *(f"{name} = 'no answer to {NAME} with {METHOD}'" for name in texts),
        *(
            f"{name} = coalesce({name}, '{{}}') || '{json.dumps(PERSONAL)}'::jsonb"
            for name in place.documents
            if name != "action"
        ),
    ]
    with connections[place.alias].cursor() as cursor:
        if changes:
            cursor.execute(
                f"UPDATE {place.table} SET {', '.join(changes)} WHERE {place.order} = ANY(%s)",
                [orders],
            )


def add_rows_of_staff(orders):
    boss = User.objects.create_superuser("boss")
    item = RunItem(
        run=Run.objects.create(action="cancel", reason=f"{NAME} has called", requested_by=boss),
        order_id=orders[0],
        state="done",
    )
    item.save()
    Drift.objects.create(
        kind="amount",
        reference="ch_1",
        order_id=orders[0],
        ours=1,
        theirs=2,
        currency="eur",
        closed_at=timezone.now(),
        closed_by="boss",
        closed_why="settled",
    )
    PartialRefund.objects.create(
        id=uuid7(),
        order_id=orders[0],
        asked_amount=1,
        amount=1,
        covered_amount=1,
        currency="eur",
        status="succeeded",
        key="refund-part-1",
    )
    for service in NAMES:
        hold = apps.get_model(service, "Hold")
        hold.objects.create(saga=orders[0], by="boss", why="a question")
        fault = apps.get_model(service, "StepFault")
        fault.objects.create(
            id=uuid4(), step=f"{service}.step", pattern=uuid4(), saga=orders[0], blame="order"
        )
    LogEntry.objects.create(who="boss", what="acted", action="cancel", why=f"{NAME} has called")


def add_logins(user, orders):
    keys = IdempotencyKey.objects.filter(order_id__in=orders)
    keys.update(user=user, key=Concat(Value(KEY), "key"), body=NAME)
    ReturnKey.objects.update(user=user, key=KEY, body=NAME)
    for model, more in (
        (AccessAttempt, {"failures_since_start": 1}),
        (AccessFailureLog, {}),
        (AccessLog, {}),
    ):
        for name in (NAME, MAIL.upper()):
            model.objects.create(username=name, ip_address=ADDRESS, user_agent=AGENT, **more)
    AccessAttempt.objects.create(
        username="eve", ip_address="198.51.100.1", user_agent="x", failures_since_start=1
    )
    TaskResult.objects.create(task_id="1", status="FAILURE", traceback=f"at {METHOD} of {NAME}")
    TaskResult.objects.create(task_id="2", task_args=f"('{orders[1]}', {{'key': '{KEY}'}})")
    TaskResult.objects.create(task_id="3", task_args="of another order", traceback="at line 7")
    AdminLogEntry.objects.create(
        user=User.objects.get(username="boss"),
        content_type=ContentType.objects.get_for_model(AuthToken),
        object_id="1",
        object_repr=f"digest : {NAME}",
        action_flag=CHANGE,
        change_message=f"for {MAIL}",
    )
    issue_token(user)
    Client().force_login(user)


def test_no_text_in_any_table_names_the_person_afterwards_and_the_books_are_whole(ada):
    named = tables_with(*PERSON)
    assert named >= {place.table for place in ANONYMISED} - {"payments_simulatedintent"}
    before = books()
    assert violations() == []
    last = LogEntry.objects.latest("seq").seq

    output = forget()

    assert tables_with(*PERSON) == NOT_REACHED
    assert books() == before
    user = User.objects.get(pk=ada.pk)
    assert (user.username, user.email, user.last_login) == (f"forgotten-{ada.pk}", "", None)
    assert (user.get_full_name(), user.is_active, user.has_usable_password()) == ("", False, False)
    assert not user.user_permissions.exists()
    assert not AuthToken.objects.filter(user=user).exists()
    assert not Session.objects.exists()
    assert AccessAttempt.objects.get().username == "eve"
    others = TaskResult.objects.get(task_id="3")
    assert (others.task_args, others.traceback) == ("of another order", "at line 7")
    assert violations() == []
    call_command("verify_log", stdout=StringIO())
    assert f"forget_customer #{ada.pk} --apply" in output

    entries = LogEntry.objects.filter(seq__gt=last).order_by("seq")
    assert {entry.subject for entry in entries} == {f"user {ada.pk}"}
    logged = [(entry.action, entry.what) for entry in entries]
    assert logged[0] == ("forget_customer", "intended")
    assert logged[-1] == ("forget_customer", "done")
    assert {action for action, _ in logged[1:-1]} == {"change_user", "change_permissions"}
    assert entries[0].why == "request 17"
    texts = json.dumps(list(entries.values_list("who", "why", "outcome", "about", "subject")))
    assert not any(word in texts for word in PERSON)
    assert entries[0].who.startswith("shell:")


def test_the_export_has_all_data_and_no_secret_and_changes_nothing(ada, tmp_path):
    before = everything()
    target = tmp_path / "ada.json"
    run(NAME, "--export", str(target))
    held = json.loads(target.read_text())
    assert target.stat().st_mode & 0o777 == 0o600
    assert held["auth_user"][0]["email"] == MAIL
    filled = {table for table, rows in held.items() if rows}
    assert filled >= {place.table for place in ANONYMISED} | {
        "axes_accessattempt",
        "axes_accesslog",
        "knox_authtoken",
        "django_session",
        "orders_idempotencykey",
        "orders_orderline",
        "inventory_reservation",
        "inventory_stockreturn",
        "returns_idempotencykey",
        "returns_returnedorder",
        "returns_returnline",
    }
    assert held["axes_accessattempt"][0]["ip_address"] == ADDRESS
    assert {task["task_id"] for task in held["django_celery_results_taskresult"]} == {"1", "2"}
    text = target.read_text()
    for secret in (ada.password, AuthToken.objects.get(user=ada).digest, LINK, '"boss"'):
        assert secret not in text

    with pytest.raises(CommandError, match="Cannot write the export"):
        run(NAME, "--export", str(target), "--apply", "--reason", "request 17")
    assert target.read_text() == text
    assert f"Dry run: --apply anonymises user #{ada.pk}" in run(NAME)
    with pytest.raises(CommandError, match="There is no user somebody"):
        run("somebody")
    with pytest.raises(CommandError, match="--apply needs --reason"):
        run(NAME, "--apply")
    assert everything() == before


def test_an_interrupted_run_is_completed_by_the_next_and_a_further_one_changes_nothing(
    ada, monkeypatch
):
    anonymise = forgetting._anonymise
    for place in ANONYMISED:

        def interrupted(at, *arguments, stop=place):
            if at == stop:
                raise KeyboardInterrupt
            return anonymise(at, *arguments)

        monkeypatch.setattr(forgetting, "_anonymise", interrupted)
        with pytest.raises(KeyboardInterrupt):
            forget()

    def fail(*_):
        raise ValueError(f"the row of {NAME}")

    monkeypatch.setattr(forgetting, "_anonymise", fail)
    with pytest.raises(CommandError, match=f"Not finished: ValueError.*the row of {NAME}"):
        forget()
    failed = LogEntry.objects.get(action="forget_customer", what="failed")
    assert failed.outcome == "Not finished: ValueError. Repeat the command."

    monkeypatch.setattr(forgetting, "_anonymise", anonymise)
    forget()
    assert tables_with(*PERSON) == NOT_REACHED
    assert violations() == []

    def without_log():
        logs = ("console_logentry", "staff_loghead")
        return [each for each in everything() if each[0] not in logs]

    before = without_log()
    forget(f"#{ada.pk}")
    assert without_log() == before

    # A restore of an older backup brings the person back in one of the databases.
    order = Order.objects.filter(user=ada).earliest("id")
    Payment.objects.filter(order_id=order.id).update(
        payment_method=METHOD, follow_error=f"no answer to forgotten with {METHOD}"
    )
    User.objects.filter(pk=ada.pk).update(email=MAIL)
    forget(f"#{ada.pk}")
    assert without_log() == before


def test_a_customer_with_an_open_matter_or_a_past_as_staff_is_refused(ada):
    orders = list(Order.objects.filter(user=ada).values_list("id", flat=True))
    paid = Payment.objects.filter(order_id__in=orders, status="captured")
    parts = PartialRefund.objects.filter(order_id__in=orders)
    group = Group.objects.create(name="helpers")
    now = timezone.now()
    dispute = {"charge_id": "ch_1", "amount": 5, "currency": "eur", "reason": "fraudulent"}
    matters = {
        "has not ended": lambda: Order.objects.filter(user=ada, status="fulfilled").update(
            ended_at=None
        ),
        "return .* has not ended": lambda: Return.objects.update(ended_at=None),
        "less than a day ago": lambda: Order.objects.filter(user=ada).update(ended_at=now),
        "5 eur .minor units. are owed": lambda: paid.update(owed_amount=5),
        "is disputed": lambda: paid.update(dispute_status="open"),
        "still followed up": lambda: paid.update(follow_at=now),
        "so its outcome is open": lambda: Payment.objects.filter(
            order_id__in=orders, status="void"
        ).update(status="pending"),
        "of a part of order .* is pending": lambda: parts.update(status="pending"),
        "of a part of order .* is failed": lambda: parts.update(status="failed"),
        "is not decided": lambda: Dispute.objects.create(
            id="dp_1", order_id=orders[0], status="open", opened_at=now, **dispute
        ),
        "is open": lambda: Drift.objects.update(closed_at=None, closed_by=""),
        "is or was staff": lambda: User.objects.filter(pk=ada.pk).update(is_staff=True),
        "or is in a group": lambda: ada.groups.add(group),
        "was staff": lambda: LogEntry.objects.create(who=NAME, what="acted", action="cancel"),
    }
    for reason, happen in matters.items():
        with transaction.atomic(), transaction.atomic(using="payments"):
            happen()
            with pytest.raises(CommandError, match=reason) as refused:
                forget()
            assert refused.value.returncode == 1
            user = User.objects.get(pk=ada.pk)
            assert (user.username, user.is_active) == (NAME, True)
            for alias in ("default", "payments"):
                transaction.set_rollback(True, using=alias)


def test_an_order_placed_after_the_check_stops_the_run(ada, monkeypatch):
    command = "privacy.management.commands.forget_customer"
    monkeypatch.setattr(f"{command}.reasons_to_refuse", lambda customer: [])
    with monkeypatch.context() as late:
        late.setattr(forgetting, "_anonymise_failed_tasks", lambda *_: place_late())
        with pytest.raises(CommandError, match="while the account was being locked"):
            forget()
    assert User.objects.get(pk=ada.pk).username == NAME

    User.objects.filter(pk=ada.pk).update(is_active=True)
    with pytest.raises(CommandError, match="has placed an order meanwhile"):
        forget()
    assert User.objects.get(pk=ada.pk).is_active
    kinds = LogEntry.objects.filter(action="forget_customer").order_by("seq")
    assert [entry.what for entry in kinds] == ["intended", "failed"] * 2


def place_late():
    harness.order(of=NAME)
    return 0


# The columns with texts that `ANONYMISED` does not have: in rows that are deleted or replaced as a
# whole, in the log, or with names and codes of the system and free texts of staff.
ELSEWHERE = {
    "django_admin_log": "object_id object_repr change_message",
    "auth_user": "password username first_name last_name email",
    "django_session": "session_key session_data",
    "knox_authtoken": "digest token_key",
    "axes_accessfailurelog": "user_agent ip_address username http_accept path_info",
    "axes_accessattempt": "user_agent ip_address username http_accept path_info get_data post_data",
    "axes_accesslog": "user_agent ip_address username http_accept path_info session_hash",
    "django_celery_results_taskresult": "task_id periodic_task_name task_name task_args task_kwargs"
    " worker content_type content_encoding result traceback meta",
    "orders_idempotencykey": "key fingerprint body",
    "returns_idempotencykey": "key fingerprint body",
}
NAMELESS = {
    "auth_permission": "name codename",
    "auth_group": "name",
    "django_content_type": "app_label model",
    "django_celery_results_chordcounter": "group_id sub_tasks",
    "django_celery_results_groupresult": "group_id content_type content_encoding result",
    "console_logentry": "hash who step subject approver address why outcome failure about via",
    "console_run": "step destination reference via reason radius over_limit",
    "staff_loghead": "hash begin_hash",
    "staff_logcheck": "hash fault",
    "orders_product": "sku name currency",
    "orders_order": "plan on_hold parent_step currency failure_code",
    "orders_orderline": "sku",
    "orders_timelineevent": "type service step",
    "returns_returnedorder": "currency",
    "returns_return": "plan on_hold parent_step currency given_by failure_code",
    "returns_returnline": "sku",
    "returns_timelineevent": "type service step",
    "payments_simulatedintent": "key currency charge_id decline_code",
    "payments_simulatedcharge": "key charge_id currency",
    "payments_simulatedrefund": "key charge_id currency",
    "payments_simulateddispute": "id charge_id currency reason",
    "payments_payment": "currency charge_id charge_key refund_key decline_code gateway"
    " expected_step",
    "payments_dispute": "id charge_id currency reason",
    "payments_partialrefund": "currency key refund_id",
    "payments_webhookevent": "id type object_id",
    "payments_drift": "reference currency closed_by",
    "payments_reconciliation": "gateway error",
    "inventory_stockitem": "sku",
    "inventory_stockadjustment": "reason by",
    "audit_auditrun": "after_key error",
    "audit_finding": "invariant subject detail kind",
} | {
    f"{service}_{table}": columns
    for service in NAMES
    for table, columns in {
        "outbox": "type step plan target",
        "inbox": "step destination",
        "hold": "step calling_step destination by",
        "stepfault": "step blame destination",
        "calllimit": "key by why in_use",
        "watermark": "home listed",
    }.items()
}

WITH_TEXT = (
    models.CharField,
    models.TextField,
    models.JSONField,
    models.BinaryField,
    models.GenericIPAddressField,
)


def test_every_column_with_text_is_anonymised_or_known_to_need_none():
    """A new column fails here: add it to `privacy.places`, or above if no person is in it."""
    found = {
        (model._meta.db_table, field.column)
        for model in project_models()
        for field in model._meta.local_fields
        if isinstance(field, WITH_TEXT) and (field.choices is None or field.column == "status")
    }
    chosen = {(table, "status") for table, column in found if column == "status"}
    known = {
        (table, column)
        for table, columns in (*ELSEWHERE.items(), *NAMELESS.items())
        for column in columns.split()
    }
    anonymised = {
        (place.table, column) for place in ANONYMISED for column in (*place.documents, *place.texts)
    }
    assert found - chosen == known | anonymised
