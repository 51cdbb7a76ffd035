"""A member of staff acts on a saga at a shell, with the rights, preview and log of the console.

Each action is a run, on a saga of any kind or on a step of all sagas. The limit of refunds counts:
above it, a second person approves the run in the console.
"""

from django.contrib.auth.models import User

from console.bulk_actions import runs, worker
from console.bulk_actions.allowance import allowances, exceeded_allowances
from console.bulk_actions.log import about_scope, rejection_kind
from console.bulk_actions.nouns import find_nouns, in_nouns, name_sagas
from console.bulk_actions.preview import Impact, OrderQueries
from console.bulk_actions.registry import get_action
from console.models import Run, RunItem
from console.visible_kinds import kinds_of_step
from sagas.control import ControlResult
from sagas.kinds import kind_of
from sagas.operations.saga_actions import Operation, Preview
from staff.context import at_shell
from staff.log import About
from staff.writes import Rejected, check_permitted, record_failure

__all__ = ["OperatorAtShell"]

VIA = "command"


class OperatorAtShell:
    """One operation of a member of staff. Raises `Rejected` if there is no such user."""

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.user = _member(operation.by)
        self.action = operation.action if operation.row else f"{operation.action}_step"
        self._seen: Impact | None = None

    def check_permitted(self) -> None:
        """Ask the policy. Raises `staff.policy.NotPermitted` after logging the refusal."""
        operation, row = self.operation, self.operation.row
        with at_shell():
            kinds = [kind_of(type(row))] if row is not None else kinds_of_step(operation.step)
            check_permitted(self.user, self.action, via=VIA, kinds=kinds, **self._about)

    def preview(self) -> Preview:
        """Return what the operation would change. The console shows the same figures."""
        action, saga = get_action(self.action), self.operation.row
        sagas = [saga.pk] if saga is not None else []
        queries = OrderQueries(sagas, destination=self.operation.destination)
        impact = action.preview(queries, self.operation.step)
        self._seen = impact
        nouns = find_nouns(sagas, self.operation.step)
        if not impact.changes:
            return Preview([in_nouns(action.nothing_to_do, nouns)], False, impact.unreachable)

        tiles = [name_sagas(tile, nouns) for tile in action.tiles(impact)]
        lines = [f"{tile.title}: {tile.value} ({tile.note})" for tile in tiles]
        lines += [allowance.in_words for allowance in allowances(self.user, impact)]
        return Preview(lines, True, impact.unreachable)

    def apply(self) -> ControlResult:
        """Make the run, and act on it unless it waits for a second person.

        Raises `Rejected`, `NotPermitted`, and the errors of the databases.
        """
        with at_shell():
            waiting = self._awaiting_approval()
            if waiting:
                return ControlResult(False, f"Run {waiting.id} waits for a second person already.")
            run = self._confirmed()
            if run.state == Run.State.AWAITING:
                reasons = " ".join(found.in_words for found in exceeded_allowances(run))
                return ControlResult(
                    False, f"Run {run.id} waits for a second person in the console. {reasons}"
                )
            worker.act_on(run)

        item = run.items.get()
        if item.state == RunItem.State.PENDING:
            return ControlResult(False, f"It failed for now. A worker completes run {run.id}.")
        return ControlResult(item.state == RunItem.State.DONE, item.outcome)

    @property
    def _about(self) -> About:
        operation = self.operation
        if operation.row is None:
            return {**about_scope(operation.scope), "why": operation.why}
        return {"order_id": operation.row.pk, "why": operation.why}

    def _confirmed(self) -> Run:
        """Return the confirmed run, with its item leased to this process. Log a rejection."""
        try:
            fingerprint = self._seen.fingerprint if self._seen else ""
            run = self._draft()
            return runs.confirm(
                run.id,
                by=self.user,
                reason=self.operation.why,
                fingerprint=fingerprint,
                leased=True,
            )
        except Exception as error:
            kind = rejection_kind(error)
            record_failure(self.user, self.action, error, via=VIA, kind=kind, **self._about)
            raise

    def _draft(self) -> Run:
        saga = self.operation.row
        if saga is None:
            step, destination = self.operation.scope
            return runs.draft_for_step(
                self.action, step, by=self.user, destination=destination, via=VIA
            )
        return runs.draft(self.action, [saga.pk], by=self.user, via=VIA)

    def _awaiting_approval(self) -> Run | None:
        saga = self.operation.row
        if saga is None:
            return None
        return Run.objects.filter(
            state=Run.State.AWAITING,
            action=self.action,
            requested_by=self.user,
            items__order_id=saga.pk,
        ).first()


def _member(name: str) -> User:
    user = User.objects.filter(username=name, is_active=True).first()
    if user is None:
        raise Rejected(f"There is no active user “{name}”. Name a member of staff with --by.")
    return user
