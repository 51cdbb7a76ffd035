"""`manage.py doctor`: prove that this process's set-up is fit for production."""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from doctor.findings import Finding, Options, State
from doctor.registry import Probe, probes
from doctor.runner import Report, run

__all__ = ["Command"]

FOUND_A_FAULT = 1


class Command(BaseCommand):
    """Run the probes, and print one line for each finding."""

    help = (
        "Connects to every server as this process does, and proves that the set-up is fit for "
        "production. It prints one line for each proof and for each fault, and exits with 1 if "
        "there is a fault. If other machines can reach the service, an unknown counts as a fault."
    )
    # The probe `settings` reports what the checks find.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        names = [one.name for one in probes()]
        parser.add_argument("--json", action="store_true", help="Print the findings as JSON.")
        parser.add_argument(
            "--url",
            type=_url,
            help="The public address of the service, to request it through its proxies.",
        )
        parser.add_argument(
            "--grace-seconds",
            type=float,
            help="The time that the service manager gives a process to stop. "
            "Default: STOP_GRACE_SECONDS.",
        )
        parser.add_argument(
            "--only", action="append", choices=names, default=[], help="Run only this probe."
        )
        parser.add_argument(
            "--accept",
            action="append",
            choices=names,
            default=[],
            help="Print the findings of this probe, but do not exit with 1 because of them.",
        )

    def handle(self, *args: Any, **given: Any) -> None:
        chosen = [one for one in probes() if not given["only"] or one.name in given["only"]]
        options = Options(
            url=given["url"],
            grace_seconds=given["grace_seconds"] or settings.STOP_GRACE_SECONDS or None,
            exposed=settings.EXPOSED,
        )
        reports = run(chosen, options)
        accepted = set(given["accept"])
        counted = _counted(reports, accepted, exposed=options.exposed)

        if given["json"]:
            self.stdout.write(_as_json(chosen, reports, accepted, ok=not counted))
        else:
            self._print(reports, accepted, counted)
        self.stdout.flush()
        # Not sys.exit: a thread that hangs in a database's library would block it.
        if counted:
            raise SystemExit(FOUND_A_FAULT)

    def _print(
        self, reports: Sequence[Report], accepted: set[str], counted: Sequence[Finding]
    ) -> None:
        for report in reports:
            for finding in report.findings:
                self.stdout.write(self._line(report.probe, finding, report.probe in accepted))
        found = [finding.state for report in reports for finding in report.findings]
        totals = ", ".join(f"{found.count(state)} {state}" for state in State)
        verdict = f"{len(counted)} to mend" if counted else "nothing to mend"
        self.stdout.write(f"{totals}: {verdict}")

    def _line(self, probe: str, finding: Finding, accepted: bool) -> str:
        remedy = f". {finding.remedy}" if finding.remedy else ""
        suffix = " (accepted)" if accepted and finding.state != State.PROVED else ""
        line = f"{finding.state:8}{probe:16}{finding.text}{remedy}{suffix}"
        styles = {State.PROVED: self.style.SUCCESS, State.FAULT: self.style.ERROR}
        return styles.get(finding.state, self.style.WARNING)(line)


def _counted(reports: Iterable[Report], accepted: set[str], *, exposed: bool) -> list[Finding]:
    """Return the findings that make the command fail."""
    failing = {State.FAULT, State.UNKNOWN} if exposed else {State.FAULT}
    return [
        finding
        for report in reports
        if report.probe not in accepted
        for finding in report.findings
        if finding.state in failing
    ]


def _as_json(
    chosen: Sequence[Probe], reports: Sequence[Report], accepted: set[str], *, ok: bool
) -> str:
    proves = {one.name: one.proves for one in chosen}
    report = {
        "ok": ok,
        "probes": [
            {
                "name": one.probe,
                "proves": proves[one.probe],
                "accepted": one.probe in accepted,
                "findings": one.findings,
            }
            for one in reports
        ],
    }
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/"):
        raise argparse.ArgumentTypeError("give a scheme and a host: https://api.example.com")
    return f"{parts.scheme}://{parts.netloc}"
