"""The settings pass Django's checks, including the checks for a deployment."""

from collections.abc import Iterator, Sequence

from django.core.checks import WARNING, run_checks

from doctor.findings import Finding, Job, Options, fault, proved
from doctor.registry import probe

__all__ = ["checks"]


@probe("settings", proves="the settings pass every check of a deployment")
def checks(options: Options) -> Sequence[Job]:
    return [Job("settings", lambda: _checks(options))]


def _checks(options: Options) -> Iterator[Finding]:
    messages = [
        message
        for message in run_checks(include_deployment_checks=options.exposed)
        if message.level >= WARNING and not message.is_silenced()
    ]
    for message in messages:
        text = " ".join(f"{message.id}: {message.msg}".split())
        yield fault(f"settings: {text}", " ".join(str(message.hint or "See the message.").split()))
    if not messages:
        yield proved("settings: every check passes")
