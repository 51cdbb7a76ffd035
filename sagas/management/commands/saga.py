"""`manage.py saga list|show|retry|cancel|hold|release`: operate any saga from a shell."""

import getpass
import logging
import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sagas import control, sql
from sagas.control import ControlResult
from sagas.definition import handlers
from sagas.definition.hold_scope import HoldScope, WrongDestination
from sagas.definition.plan import Saga
from sagas.management.saga_tables import as_json, detail_lines, page_lines
from sagas.models import TrackedSaga
from sagas.operations import saga_actions
from sagas.operations.called_destinations import require_destination
from sagas.operations.saga_actions import Operation, Preview
from sagas.operations.saga_details import details
from sagas.operations.saga_list import FLAGS, SagaFilter, list_sagas

__all__ = ["Command"]

logger = logging.getLogger("sagas.operator")

# The exit code where a database did not answer, so that the output is not complete.
UNKNOWN = 2

MOST_LISTED = 1_000


class Command(BaseCommand):
    """List and show sagas, and act on one of them, or on a step of all sagas.

    A project with rights and a log of its own derives its command from this class, in an app that
    stands earlier in INSTALLED_APPS. It replaces `check_right`, `preview` and `apply`.
    """

    help = (
        "Operates the sagas of all homes and kinds. An action shows its preview, and asks before it"
        " changes anything; --yes answers. Exit code 2: a database did not answer, so something is"
        " unknown."
    )
    # A wrong setting must not keep an operator from a look or a repair.
    requires_system_checks: list[str] = []

    # Whether --by must be given. Without it, the host's user counts as the operator.
    needs_operator: ClassVar[bool] = False

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the action and its options."""
        actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
        _add_list(actions.add_parser("list", help="list sagas, the newest first"))

        show = actions.add_parser("show", help="show the steps, holds and events of a saga")
        show.add_argument("saga", type=_saga_id)
        show.add_argument("--json", action="store_true", help="print JSON")

        for action, text in (
            ("retry", "try the waiting steps of a saga again now"),
            ("cancel", "cancel a saga before its pivot, and undo its steps"),
            ("hold", "stop a saga, or a step of all sagas"),
            ("release", "let a saga, or a step of all sagas, go on"),
        ):
            takes_step = action in {"hold", "release"}
            self._add_action(actions.add_parser(action, help=text), takes_step=takes_step)

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        """Run the action."""
        given = Namespace(action=action, **options)
        if action == "list":
            self._list(given)
        elif action == "show":
            self._show(given)
        else:
            self._operate(given)

    def check_right(self, operation: Operation) -> None:
        """Raise CommandError if the operator may not do this. Here, the shell's user may do all."""

    def preview(self, operation: Operation) -> Preview:
        """Return what an operation would change now."""
        row = operation.row
        is_cancel = operation.action == "cancel"
        if row and is_cancel and not row.ended_at and not control.cancel_event(row):
            return Preview([control.NOT_BY_OPERATOR], False, [])
        return saga_actions.preview(operation)

    def apply(self, operation: Operation) -> ControlResult:
        """Apply an operation, and log it."""
        result = _apply(operation)
        logger.info(
            "Operator %s: %s %s (%s) %s",
            operation.by,
            operation.action,
            operation.subject,
            operation.why,
            result.text,
        )
        return result

    def _add_action(self, parser: ArgumentParser, *, takes_step: bool) -> None:
        parser.add_argument("saga", type=_saga_id, nargs="?" if takes_step else None)
        if takes_step:
            parser.add_argument("--step", default="", help="a step of all sagas, instead of a saga")
            parser.add_argument(
                "--destination",
                default="",
                help="only calls of the step to this outside system",
            )
        by = "the operator's user name" if self.needs_operator else "default: the host's user"
        parser.add_argument("--by", default="", help=by)
        parser.add_argument("--reason", default="", help="the reason, which is kept")
        parser.add_argument("--yes", action="store_true", help="do not ask before the change")

    def _list(self, given: Namespace) -> None:
        wanted = SagaFilter(
            home=given.home,
            kind=given.kind,
            flags=tuple(flag for flag in FLAGS if getattr(given, flag)),
            step=given.step,
            started_after=given.started_after,
            started_before=given.started_before,
            below=given.after,
            limit=given.limit,
        )
        try:
            page = list_sagas(wanted)
        except LookupError as error:
            raise CommandError(str(error)) from error

        if given.json:
            self.stdout.write(as_json(page))
        else:
            for line in page_lines(page):
                self.stdout.write(line)
            if not page.sagas and not page.unknown:
                self.stdout.write("No saga matches.")
            if page.next:
                self.stdout.write(f"More: --after {page.next}")
            if page.is_partial:
                self.stdout.write("Only some of the sagas at this step are listed.")
        _require_known(page.unknown, "some sagas or steps may be missing")

    def _show(self, given: Namespace) -> None:
        try:
            known = details(_find(given.saga))
        except LookupError as error:
            raise CommandError(str(error)) from error

        if given.json:
            self.stdout.write(as_json(known))
        else:
            for line in detail_lines(known):
                self.stdout.write(line)
        _require_known(known.unknown, "its steps there are unknown")

    def _operate(self, given: Namespace) -> None:
        operation = self._operation(given)
        self.check_right(operation)
        try:
            preview = self.preview(operation)
        except (LookupError, ValueError) as error:
            raise CommandError(str(error)) from error

        _require_known(preview.unknown, "the impact is unknown, and nothing is changed")
        self.stdout.write(f"{operation.action} {operation.subject}:")
        for line in preview.lines:
            self.stdout.write(f"  {line}")
        if not preview.changes:
            self.stdout.write("Nothing is changed.")
            return

        if not given.yes:
            self._confirm()
        try:
            result = self.apply(operation)
        except sql.DATABASE_ERRORS as error:
            raise CommandError(
                f"A database failed, so only a part may be done: {error} Repeat the command."
            ) from error
        self.stdout.write(result.text)

    def _operation(self, given: Namespace) -> Operation:
        step = getattr(given, "step", "")
        if bool(given.saga) == bool(step):
            raise CommandError("Name a saga by its id, or a step with --step, but not both.")
        # A release takes the name of a stored hold as it is.
        destination = getattr(given, "destination", "")
        if destination and not step:
            raise CommandError("Name the step of the destination with --step.")
        if not given.reason.strip():
            raise CommandError("Give the reason with --reason: it is kept.")
        if self.needs_operator and not given.by:
            raise CommandError("Name the operator with --by: their rights are checked and logged.")

        if step and given.action == "hold":
            _require_known_step(step)
            _require_destination(HoldScope(step, destination))
        row = _find(given.saga) if given.saga else None
        by = given.by or _host_user()
        return Operation(given.action, row, step, by, given.reason.strip(), destination)

    def _confirm(self) -> None:
        if not sys.stdin.isatty():
            raise CommandError("Nothing is changed. Repeat the command with --yes to apply it.")
        if input("Type yes to apply it: ").strip() != "yes":
            raise CommandError("Nothing is changed.")


def _add_list(parser: ArgumentParser) -> None:
    parser.add_argument("--home", default="", help="the service in which the sagas start")
    parser.add_argument("--kind", default="", help="the name of the saga, or of its model")
    parser.add_argument("--open", action="store_true", help="not ended")
    parser.add_argument("--ended", action="store_true", help="ended")
    parser.add_argument("--stalled", action="store_true", help="without progress, and re-driven")
    parser.add_argument("--needs-attention", action="store_true", help="a person must look")
    parser.add_argument("--on-hold", action="store_true", help="held, or waiting at a held step")
    parser.add_argument("--waiting", action="store_true", help="waiting as agreed")
    parser.add_argument("--step", default="", help="at this step now, such as payments.charge")
    parser.add_argument("--started-after", type=_moment, help="ISO 8601; UTC without an offset")
    parser.add_argument("--started-before", type=_moment, help="ISO 8601; UTC without an offset")
    parser.add_argument("--limit", type=_limit, default=50, help="sagas of a page")
    parser.add_argument("--after", type=_saga_id, help="the last id of the page before")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _apply(operation: Operation) -> ControlResult:
    action, row, step, by, why, destination = operation
    if row is None:
        if action == "hold":
            return control.hold_step(step, destination=destination, by=by, why=why)
        return control.release_step(step, destination=destination)
    if action == "hold":
        return control.hold(row, by=by, why=why)
    return {"retry": control.retry, "release": control.release, "cancel": control.cancel}[action](
        row
    )


def _find(saga: UUID) -> TrackedSaga:
    try:
        return control.find(saga)
    except LookupError as error:
        raise CommandError(str(error)) from error
    except sql.DATABASE_ERRORS as error:
        raise CommandError(
            f"A database does not answer, so whether there is a saga {saga} is unknown: {error}",
            returncode=UNKNOWN,
        ) from error


def _require_known_step(step: str) -> None:
    declared = {name for saga in Saga.declared.values() for name in saga.plan.names()}
    if step not in declared.union(handlers.names()):
        raise CommandError(
            f"There is no step {step!r}. The steps are: {', '.join(sorted(declared))}."
        )


def _require_destination(scope: HoldScope) -> None:
    try:
        require_destination(scope)
    except WrongDestination as error:
        raise CommandError(str(error)) from error


def _require_known(unknown: list[str], consequence: str) -> None:
    if unknown:
        raise CommandError(
            f"The database of {', '.join(unknown)} does not answer, so {consequence}.",
            returncode=UNKNOWN,
        )


def _saga_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no id of a saga. It is a UUID.") from error


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_LISTED:
        raise ArgumentTypeError(f"{text!r} is no number from 1 to {MOST_LISTED:,}.")
    return int(text)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no date or time of ISO 8601.") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _host_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under an id without a name
        return f"uid {os.getuid()}"
