"""A worker whose own database connection is dead survives the loss of its children."""

import psycopg
import pytest
from django.db import connection
from django_celery_results.models import TaskResult

from tests.broker import empty
from tests.plugin import running
from tests.processes import beat, until, worker
from tests.trips.harness import begin, state
from tests.trips.models import Trip

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.system]

QUICK = {"SAGA_STEP_ATTEMPTS": "2", "OUTBOX_FLUSH_SECONDS": "0.2"}
END_OTHER_SESSIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> %s"
)


def end_every_other_session():
    own = connection.connection.info
    with psycopg.connect(running().postgres.superuser_url, autocommit=True) as session:
        session.execute(END_OTHER_SESSIONS, [own.dbname, own.backend_pid])


@pytest.mark.faults
def test_a_worker_whose_connection_died_survives_the_loss_of_its_children():
    """Otherwise the worker could neither store the failure nor acknowledge the message.

    Its only prefetch slot would then stay taken.
    """
    empty()
    (killer,) = begin(names=["kill in trips.book"])
    with worker("trips", environ=QUICK) as process, beat(environ=QUICK):
        until(
            TaskResult.objects.filter(status="RETRY").exists,
            "the first lost process is stored",
            process=process,
        )
        end_every_other_session()  # the retry follows after a second and kills the next child
        until(
            lambda: state(killer, "trips.book") == "refused",
            "the step is given up",
            process=process,
        )
        (good,) = begin(names=["Ada"])
        until(lambda: Trip.objects.get(id=good).ended_at, "another trip has ended", process=process)
        assert "Pool callback raised" not in process.output()
