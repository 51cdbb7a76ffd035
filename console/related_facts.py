"""The facts and forms that other kinds add to the page of a saga, such as those of returns."""

from functools import partial
from typing import NamedTuple

from django.contrib.auth.models import AnonymousUser, User

from console.partial_reader import PartialReader
from sagas.kinds import Fact, Proposal, SagaKind, all_kinds, kind_of
from sagas.models import TrackedSaga
from staff.policy import decide, may_view

__all__ = ["OfferedProposal", "offered_proposals", "proposals_about", "related_facts"]


class OfferedProposal(NamedTuple):
    """A form of one kind on the page of a saga of another: the user must view `kinds`, so both."""

    proposal: Proposal
    kinds: tuple[SagaKind, SagaKind]


def related_facts(
    row: TrackedSaga, user: User | AnonymousUser, reader: PartialReader
) -> list[Fact]:
    """Return the facts of all other kinds about a saga.

    A line says so if the user may not view a kind, or if its home does not answer.
    """
    return [
        fact
        for kind in _others(row)
        if type(kind).facts_about is not SagaKind.facts_about
        for fact in _facts_of(kind, row, user, reader)
    ]


def proposals_about(row: TrackedSaga) -> list[OfferedProposal]:
    """Return the forms with which staff start sagas of other kinds about a saga."""
    own = kind_of(type(row))
    return [
        OfferedProposal(proposal, (own, kind))
        for kind in _others(row)
        for proposal in kind.proposals_about(row)
    ]


def offered_proposals(row: TrackedSaga, user: User | AnonymousUser) -> list[Proposal]:
    """Return the forms that the page of a saga offers a user, as the policy permits."""
    return [
        proposal
        for proposal, kinds in proposals_about(row)
        if proposal.is_offered and decide(user, proposal.action, kinds=kinds).allowed
    ]


def _others(row: TrackedSaga) -> list[SagaKind]:
    return [kind for kind in all_kinds() if kind is not kind_of(type(row))]


def _facts_of(
    kind: SagaKind, row: TrackedSaga, user: User | AnonymousUser, reader: PartialReader
) -> list[Fact]:
    found = reader.read(kind.home, partial(kind.facts_about, row))
    label = kind.plural.capitalize()
    if kind.home in reader.unreachable:
        return [Fact(label, f"Unknown: the database of {kind.home} does not answer.")]
    if found and not may_view(user, kind):
        return [Fact(label, f"You may not view {kind.plural} ({kind.view_permission}).")]
    return found
