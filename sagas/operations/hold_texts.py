"""Sentences about holds on steps and destinations, as operators read them."""

from collections.abc import Iterable
from typing import NamedTuple

from sagas.definition.hold_scope import HoldScope

__all__ = ["HoldWords", "release_first", "waits_because", "words"]


class HoldWords(NamedTuple):
    """The subject of a sentence about a hold, and the verbs and pronouns that agree with it."""

    subject: str
    be: str = "is"
    was: str = "was"
    it: str = "it"
    its: str = "its"


def words(scope: HoldScope) -> HoldWords:
    """Return the words for a step, or for its calls to a destination."""
    if not scope.destination:
        return HoldWords(scope.step)
    return HoldWords(f"Calls of {scope}", "are", "were", "them", "their")


def release_first(scopes: Iterable[HoldScope]) -> str:
    """Return that these holds must be released before a step can go on."""
    return " ".join(
        f"{said.subject} {said.be} on hold: release {said.it} first."
        for said in map(words, dict.fromkeys(scopes))
    )


def waits_because(scopes: Iterable[HoldScope]) -> str:
    """Return why a saga waits, to follow "It waits": the step or the calls that are on hold."""
    reasons = [
        f"because calls of {scope} are on hold"
        if scope.destination
        else f"at {scope}, which is on hold for all sagas"
        for scope in dict.fromkeys(scopes)
    ]
    return ", and ".join(reasons)
