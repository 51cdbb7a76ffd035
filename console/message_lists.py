"""The actions of the outbox and inbox lists as runs: with preview, reason, limit and log."""

from collections.abc import Collection, Sequence
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse

from console.bulk_actions.registry import is_permitted
from console.views.runs import draft_run
from console.visible_kinds import visible_kinds

__all__ = ["ConsoleActions"]

WHOLE_SAGAS = {
    "publish": "The run sends all messages of these sagas again, in all services, and not only the"
    " selected ones.",
    "retry": "The run makes all waiting steps of these sagas due, in all services, and not only"
    " the selected ones.",
}


class ConsoleActions:
    """Takes over the actions of the message lists: each drafts a run over the rows' sagas."""

    def is_permitted(self, request: HttpRequest, action: str) -> bool:
        """Tell whether the policy permits the user to make such a run."""
        return is_permitted(request.user, action)

    def hidden(self, request: HttpRequest) -> str:
        """Return which kinds of sagas the user may not view; empty if none."""
        return visible_kinds(request.user).hidden_in_words

    def shown_steps(self, request: HttpRequest) -> Collection[str] | None:
        """Return the steps that no saga of these kinds has; None if the user may view all kinds."""
        return visible_kinds(request.user).shown_steps

    def act(self, request: HttpRequest, action: str, sagas: Sequence[UUID]) -> HttpResponse | None:
        """Draft the run, and show its preview, which says that it is about whole sagas."""
        preview = draft_run(request, action, sagas)
        if preview is not None:
            messages.info(request, WHOLE_SAGAS[action])
        return preview
