"""The engine works without the packages of its extras, and says which one a setting needs."""

import json
import os
import subprocess
import sys

# Runs in a process of its own, because the packages are installed for the tests.
WITHOUT_EXTRAS = """
import json, sys
from importlib import import_module
from pkgutil import walk_packages

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("unfold", "prometheus_client", "opentelemetry"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
# `find_spec` of a package that is not installed returns None.
import importlib.util
real_find_spec = importlib.util.find_spec
def find_spec(name, package=None):
    try:
        return real_find_spec(name, package)
    except ModuleNotFoundError:
        return None
importlib.util.find_spec = find_spec

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="not-secret",
    METRICS_PORT=9100,
    METRICS_HOST="127.0.0.1",
    INSTALLED_APPS=[
        "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes",
        "django.contrib.messages", "django_celery_results", "sagas",
    ],
)
django.setup()

import sagas
for module in walk_packages(sagas.__path__, "sagas."):
    if not module.name.startswith("sagas.contrib."):
        import_module(module.name)

from sagas.celery import signals
from sagas.checks.registration import check_metrics, check_tracing
from sagas.observability import tracing

signals._start_meters()
tracing.start()
print(json.dumps([f"{found.id}: {found.msg}" for check in (check_metrics, check_tracing)
                  for found in check(None)]))
"""


def test_the_engine_runs_without_the_extras_and_names_the_ones_that_settings_ask_for() -> None:
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert not done.returncode, done.stderr

    no_metrics, no_traces = json.loads(done.stdout)
    assert no_metrics.startswith("sagas.W032: METRICS_PORT is set, but prometheus-client is not")
    assert no_traces.startswith("sagas.W030: OTEL_EXPORTER_OTLP_ENDPOINT is set, but")
