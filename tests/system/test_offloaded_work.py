"""Work of payments that asks a gateway occupies no process of a worker."""

from pathlib import Path

import pytest
from celery import current_app
from django.test import Client

from payments.models import Reconciliation
from tests.processes import until, worker
from tests.system import slow_statement
from tests.system.harness import QUICK, SERVICES, order, outcome, shop

__all__ = ["shop"]

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.system]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {
        **QUICK,
        "PAYMENT_GATEWAY": slow_statement.PATH,
        slow_statement.FOLDER: str(tmp_path),
    }


def test_orders_go_on_while_a_gateway_does_not_answer_the_reconciliation(
    api_client: Client, tmp_path: Path, environ: dict[str, str]
) -> None:
    with worker(*SERVICES, environ=environ, concurrency=1) as working:
        current_app.send_task("payments.reconcile", queue="payments")
        until((tmp_path / "asked").exists, "the gateway is asked", process=working)
        placed = order(api_client, "key")
        until(lambda: outcome(placed)[0] == "fulfilled", "the order ends", process=working)
        finished = Reconciliation.objects.exclude(finished_at=None)
        assert not finished.exists()

        (tmp_path / "answer").touch()
        until(finished.exists, "the reconciliation ends", process=working)


def test_a_worker_that_stops_does_not_wait_for_a_gateway_that_does_not_answer(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    patient = environ | {"TASK_TIME_LIMIT": "600"}
    with worker(*SERVICES, environ=patient, concurrency=1) as working:
        current_app.send_task("payments.reconcile", queue="payments")
        until((tmp_path / "asked").exists, "the gateway is asked", process=working)
        working.popen.terminate()
        assert working.popen.wait(60) == 0, working.output()[-4000:]
        assert "This process ends before payments.reconcile" in working.output()
