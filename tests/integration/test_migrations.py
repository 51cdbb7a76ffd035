"""Every change of a model has its migration."""

import pytest
from django.core.management import call_command

from services import NAMES

APPS = (*NAMES, "audit", "console", "staff")


@pytest.mark.django_db(databases="__all__")
def test_no_model_differs_from_its_migrations(capsys):
    try:
        call_command("makemigrations", *APPS, check=True, dry_run=True)
    except SystemExit:
        pytest.fail(f"Run makemigrations:\n{capsys.readouterr().out}")
