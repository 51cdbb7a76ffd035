"""The alert rules and the page on observability name existing metrics, and the page names all."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from django.db import connections
from django.utils import timezone
from prometheus_client import values
from prometheus_client.parser import text_string_to_metric_families

from api.monitoring import metrics
from audit.models import AuditRun
from payments.models import CallLimit, Hold, Inbox, StepFault
from sagas.contrib.prometheus import FOLDER, WorkerMetrics
from sagas.ids import uuid7
from staff.models import LogCheck
from tests.integration.api.test_metrics import captured, placed
from tests.integration.console.payments_rows import dispute, owed, payment

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

ROOT = Path(__file__).resolve().parents[3]
RULES = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"][0]["rules"]
RUNBOOK = (ROOT / "docs/runbook.md").read_text()
PAGE = (ROOT / "docs/observability.md").read_text()
NAME = re.compile(r"\b(?:saga|orders|money|payments|reconciliation|audit|console)_[a-z_]+\b")


@pytest.fixture
def served(http, ada, monkeypatch):
    """Return the names of the samples that the API serves if every table has rows."""
    monkeypatch.setattr(metrics, "KEPT", -1.0)
    monkeypatch.setattr(metrics, "LIMIT", 30)
    for _ in range(3):
        captured(placed(ada), 1_000)
    now = timezone.now()
    payment(), owed()
    AuditRun.objects.create(since=now, until=now, finished_at=now)
    LogCheck.objects.create(seq=0, hash=b"", checked_at=now)
    dispute(payment(status="captured"), respond_by=now + timedelta(days=1))
    Inbox.objects.create(
        saga=uuid7(), saga_started_at=now, step="payments.charge", state="waiting", send_at=now
    )
    Hold.objects.create(step="payments.charge", automatic=True, why="Cards are refused.")
    for automatic in (True, False):
        Hold.objects.create(
            calling_step="payments.void",
            destination=f"bank/{automatic}",
            automatic=automatic,
            why="HTTP 503",
        )
    fault = {"pattern": uuid7(), "saga": uuid7(), "blame": "order", "error": "boom", "shared": True}
    StepFault.objects.create(id=uuid7(), step="payments.refund", destination="stripe", **fault)
    Hold.objects.create(saga=uuid7(), by="olga", why="The address is odd.")
    CallLimit.objects.create(key="stripe", reached_at=now)
    with connections["default"].cursor() as cursor:
        cursor.execute("ANALYZE orders_order")
    families = text_string_to_metric_families(http.get("/metrics").content.decode())
    return {sample.name for family in families for sample in family.samples}


@pytest.fixture
def observed(monkeypatch, tmp_path):
    """Return the names of the samples that a worker serves."""
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    families = [family for metric in vars(WorkerMetrics()).values() for family in metric.describe()]
    endings = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}
    return {family.name + ending for family in families for ending in endings[family.type]}


def without_endings(names):
    """Return the names as the page has them: one for each histogram."""
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in names}


def test_every_alert_uses_metrics_that_exist(served, observed):
    for rule in RULES:
        asked = set(NAME.findall(rule["expr"]))
        assert asked, rule["alert"]
        asked |= set(NAME.findall(rule["annotations"]["summary"]))
        assert asked <= served | observed, rule["alert"]


def test_no_alert_fires_for_each_outside_system():
    for rule in RULES:
        outer = re.match(r"\w+ by \(([^)]+)\)", rule["expr"])
        assert "destination" not in (outer[1] if outer else ""), rule["alert"]


def test_the_absence_of_each_exporter_is_an_alert():
    """The API, a worker on each queue, and beat. Without their metrics other alerts are silent."""
    rules = {rule["alert"]: rule["expr"] for rule in RULES}
    absent = re.findall(r"absent\(([^)]+)\)", " ".join(rules.values()))
    assert set(absent) == {"saga_metrics_section_up", "saga_rescue_last_run_timestamp_seconds"}
    assert rules["WorkerMetricsMissing"] == (
        "max by (queue) (saga_queue_messages) unless on (queue) saga_worker_queue"
    )


def test_every_alert_has_an_action_and_is_documented():
    for rule in RULES:
        assert rule["annotations"]["summary"], rule["alert"]
        assert rule["annotations"]["action"], rule["alert"]
        assert f"`{rule['alert']}`" in PAGE
        assert f"\n| `{rule['alert']}` |" in RUNBOOK
    assert len({rule["alert"] for rule in RULES}) == len(RULES)


def test_no_alert_about_old_steps_fires_for_agreed_waiting():
    aged = [rule["expr"] for rule in RULES if "saga_inbox_oldest_seconds" in rule["expr"]]
    assert aged
    for expr in aged:
        excluded = re.search(r'state!~"([a-z|]+)"', expr)
        assert excluded is not None, expr
        assert {"agreed", "held", "parked"} <= set(excluded[1].split("|")), expr


def test_the_page_documents_every_metric_and_no_other(served, observed):
    named = re.findall(r"^\| `([a-z_]+)", PAGE, re.MULTILINE)
    assert set(named) == without_endings(served | observed)
