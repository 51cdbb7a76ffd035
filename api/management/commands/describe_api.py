"""Write the documents that are generated from the code."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand

from api.openapi import as_yaml
from api.problems.problem_pages import as_markdown

__all__ = ["DOCUMENTS", "Command"]

DOCUMENTS = {"openapi.yaml": as_yaml, "errors.md": as_markdown}


class Command(BaseCommand):
    """`manage.py describe_api`."""

    help = "Generate docs/openapi.yaml and docs/errors.md from the code."

    def handle(self, *args: Any, **options: Any) -> None:
        """Write each document."""
        for name, text in DOCUMENTS.items():
            path = Path(settings.BASE_DIR) / "docs" / name
            path.write_text(text(), encoding="utf-8")
            self.stdout.write(f"Wrote {path.relative_to(settings.BASE_DIR)}.")
