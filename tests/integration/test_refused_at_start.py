"""The API, workers and beat exit at their start if a check fails, and name every fault."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import LIMIT, ROOT, environment
from tests.production import PRODUCTION, SECRET
from tools.local.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.django_db(databases="__all__")]

UNFIT = PRODUCTION | {
    "ALLOWED_HOSTS": "*",
    "STRIPE_API_KEY": "sk_test_1",
    "STRIPE_API_BASE": "http://127.0.0.1:1",
    "STRIPE_WEBHOOK_SECRET": "",
    "METRICS_TOKEN": "",
    "HTTPS": "off",
    "PAYMENT_RETURN_URL": "http://localhost:8000/",
    "RATE_LIMIT_LOGINS": "0",
    "PROXY_SSL_HEADER": "X-Forwarded-Proto",
}
FOUND = [
    *(f"config.E{number:03}" for number in (2, 3, 4, 5, 6, 8, 9, 10)),
    "payments.E003",
]

# Gunicorn ends with 1 instead of 3 if a second worker exits while it stops.
STOPPED = (1, 3)

# A settings module with a service of its own whose saga is declared wrongly.
WRONG_SETTINGS = """
from tests.settings import *
INSTALLED_APPS = [*INSTALLED_APPS, "wrong"]
"""
WRONG_SAGA = """
from sagas.definition.plan import Saga, Step
Saga("wrong", Step("trips.book"), Step("trips.confirm", pivot=True), abort="trips.drop")
"""
SECOND_HANDLER = """
from sagas.definition.handlers import NoContext, action
@action("payments.charge", accepts=NoContext, batch=True)
def charge_nothing(batch): ...
"""


def command(kind, folder):
    """Return the command line of a kind of process."""
    return {
        "API": ["gunicorn", "config.wsgi", "--bind", f"127.0.0.1:{free_port()}"],
        "worker": ["celery", "-A", "config", "worker", "-Q", "orders", "-c", "1"],
        "beat": ["celery", "-A", "config", "beat", "-s", f"{folder}/schedule"],
    }[kind]


def start(*arguments, **variables):
    """Start a process that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**environment(), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
    )


@pytest.mark.parametrize("kind", ["API", "worker", "beat"])
def test_a_process_with_unfit_settings_exits_and_names_them_all(kind, tmp_path):
    started = start("-m", *command(kind, tmp_path), **UNFIT)
    assert started.returncode in STOPPED
    missing = [id_ for id_ in FOUND if f"{id_}: " not in started.stderr]
    assert missing == [], started.stderr
    assert f"The {kind} does not start" in started.stderr
    assert SECRET not in started.stderr


@pytest.fixture
def wrong(tmp_path):
    """Return a function that makes an app with a module, and the environment that installs it."""

    def make(module, text) -> dict[str, str]:
        (tmp_path / "wrong").mkdir()
        (tmp_path / "wrong" / "__init__.py").touch()
        (tmp_path / "wrong" / f"{module}.py").write_text(text)
        (tmp_path / "wrong_settings.py").write_text(WRONG_SETTINGS)
        return {
            "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
            "DJANGO_SETTINGS_MODULE": "wrong_settings",
        }

    return make


@pytest.mark.parametrize("kind", ["API", "worker", "beat"])
def test_a_process_with_a_wrong_saga_exits_and_says_why(kind, wrong, tmp_path):
    started = start("-m", *command(kind, tmp_path), **wrong("saga", WRONG_SAGA))
    assert started.returncode in STOPPED
    assert "sagas.E004: Saga 'wrong': 'trips.book' has no undo." in started.stderr
    assert "Give every step before the pivot an undo." in started.stderr


@pytest.mark.parametrize("kind", ["API", "worker", "beat"])
def test_a_process_with_two_handlers_of_one_step_exits_and_names_both(kind, wrong, tmp_path):
    started = start("-m", *command(kind, tmp_path), **wrong("steps", SECOND_HANDLER))
    assert started.returncode != 0
    assert "The step 'payments.charge' is registered twice" in started.stderr
    assert str(Path("payments", "steps", "charge.py")) in started.stderr
    assert f"wrong.steps.charge_nothing ({tmp_path}/wrong/steps.py:3)" in started.stderr


def test_manage_py_refuses_too_except_for_the_commands_of_a_repair():
    refused = start("manage.py", "create_token", "ada", **UNFIT)
    assert refused.returncode != 0
    assert "(config.E004)" in refused.stderr
    shown = start("manage.py", "check", "--deploy", **UNFIT)
    assert shown.returncode != 0
    assert [id_ for id_ in FOUND if f"({id_})" not in shown.stderr] == []
    recovered = start("manage.py", "recover", "payments", "--apply", **UNFIT)
    assert recovered.returncode == 2
    assert [id_ for id_ in FOUND if f"({id_})" not in recovered.stderr] == []
    assert "--skip-checks" in recovered.stderr
    migrated = start("manage.py", "migrate_all", **UNFIT)
    assert migrated.returncode == 0, migrated.stderr


def test_a_staging_system_starts_and_warns():
    staging = PRODUCTION | {
        "PAYMENT_GATEWAY": "simulated",
        "METRICS_TOKEN": "",
        "ALLOW_INSECURE": "simulated-gateway,open-metrics",
    }
    started = start("-c", "import config.wsgi", **staging)
    assert started.returncode == 0, started.stderr
    for name in ("simulated-gateway", "open-metrics"):
        assert f"ALLOW_INSECURE accepts '{name}'" in started.stderr
