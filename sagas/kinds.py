"""The kinds of sagas, and how the domain of each describes them to a console and to an audit.

A kind is a model of tracked rows. The engine knows the parts that all sagas share: the id, the
plan, the state, the steps, the timeline, the holds, and whether a person must act. The app of the
model adds the parts that only the domain knows, in a class of its own:

    @register(Refund)
    class RefundKind(SagaKind):
        def facts(self, row):
            return [Fact("Amount", Money(row.amount, row.currency))]

A model without a class has the defaults.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from django.db import Error
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from sagas.definition.events import Event, Refusal
from sagas.models import TrackedSaga
from sagas.storage.registry import get_home, home_names

__all__ = [
    "Fact",
    "Money",
    "Proposal",
    "SagaKind",
    "SagaLink",
    "SagaRecord",
    "all_kinds",
    "find_saga",
    "get_kind",
    "kind_of",
    "locate",
    "register",
]


class Money(NamedTuple):
    """An amount in minor units of a currency (lower-case ISO 4217)."""

    amount: int
    currency: str


class SagaLink(NamedTuple):
    """The page of a saga, by its kind (see `SagaKind.name`) and its id.

    It names no address. A console shows the link only to a user who may view the kind.
    """

    kind: str
    saga: UUID


class Fact(NamedTuple):
    """A line of a page, and a part of a list: a label, and its value for one saga.

    `link` leads from the value to the page of another saga, or to an address: a path, or a URL of
    http or https. A value with another address is shown without a link.
    """

    label: str
    value: str | Money
    link: SagaLink | str | None = None


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A form on the page of a saga, with which staff start a saga of another kind about it.

    `action` is the action of the host's policy. `fields` has the label of each input by its name.
    `preview` gets the inputs, and returns the effects in sentences. `submit` gets the person, the
    inputs, the reason and a key, and returns the id of the new saga; the same key starts no second
    one. Both raise ValueError with a text for the person. `is_offered` tells whether the page of
    the saga shows a button.
    """

    name: str
    label: str
    action: str
    fields: Mapping[str, str]
    preview: Callable[[Mapping[str, str]], Sequence[str]]
    submit: Callable[[Any, Mapping[str, str], str, str], UUID]
    is_offered: bool = True


@dataclass(frozen=True, kw_only=True)
class SagaRecord:
    """A saga as the audit has read it.

    `steps` has the state of each step that has an inbox row. `events` are the types of all events.
    `undone` tells whether the saga has ended by its abort step. `has_messages` is False if a
    service has purged the messages: then `steps` and `events` are incomplete.
    """

    row: TrackedSaga
    ended: bool
    undone: bool
    has_messages: bool
    steps: Mapping[str, str] = field(default_factory=dict)
    events: Sequence[str] = ()


class SagaKind:
    """One kind of saga. Each method has a default that suits any saga.

    Derive a class, override the methods about which the domain knows more, and `register` it.
    """

    def __init__(self, model: type[TrackedSaga]) -> None:
        self.model = model

    # Its names.

    @property
    def name(self) -> str:
        """The name for programs, such as `shop.refund`."""
        return str(self.model._meta.label_lower)

    @property
    def singular(self) -> str:
        """The name of one saga in a sentence, such as `refund`."""
        return str(self.model._meta.verbose_name)

    @property
    def plural(self) -> str:
        """The name of several."""
        return str(self.model._meta.verbose_name_plural)

    @property
    def home(self) -> str:
        """The service in which sagas of this kind start."""
        return str(self.model._meta.app_label)

    @property
    def table(self) -> str:
        """The table of the tracked rows, in the database of the home."""
        return str(self.model._meta.db_table)

    @property
    def key(self) -> str:
        """The column of that table with the saga's id."""
        return str(self.model._meta.pk.column)

    # Its pages, and the users who may see them.

    @property
    def view_permission(self) -> str:
        """Django's permission to read all sagas of this kind."""
        return f"{self.home}.view_{self.model._meta.model_name}"

    @property
    def list_page(self) -> str:
        """The address of the list of these sagas: by default the admin's list of the model."""
        return reverse(f"admin:{self._admin_page}_changelist")

    def page(self, saga: UUID) -> str:
        """Return the address of the page of one saga: by default the admin's page of its row."""
        return reverse(f"admin:{self._admin_page}_change", args=[saga])

    # The texts about one saga.

    # The labels of the facts that have a column of their own in the list of these sagas. The others
    # share one column.
    columns: Sequence[str] = ()

    def status(self, row: TrackedSaga) -> str:
        """Return the status in one or two words: by default whether the saga is open, and waits."""
        if row.ended_at:
            return "ended"
        if row.on_hold:
            return "on hold"
        if row.waits_until and row.waits_until > timezone.now():
            return "waits as agreed"
        return "open"

    def facts(self, row: TrackedSaga) -> Sequence[Fact]:
        """Return the facts of the domain, such as the amount and the customer."""
        return ()

    def facts_about(self, row: TrackedSaga) -> Sequence[Fact]:
        """Return the facts that this kind adds to the page of a saga of another kind.

        Examples are the refunds of a purchase. Return few, and read them by an index: the page asks
        every kind.
        """
        return ()

    def proposals_about(self, row: TrackedSaga) -> Sequence[Proposal]:
        """Return the forms with which staff start sagas of this kind about one of another kind."""
        return ()

    def failure(self, row: TrackedSaga) -> str:
        """Return why the saga was refused or cancelled, in words; empty if it was not."""
        return ""

    # The names of the statuses by which a list is filtered, and their texts; none by default.
    statuses: Mapping[str, str] = MappingProxyType({})

    def with_status(self, rows: QuerySet[Any], status: str) -> QuerySet[Any]:
        """Return the rows of a status: by default those with this value in the column `status`."""
        return rows.filter(status=status)

    search_help = "Saga id."

    def search(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        """Return the rows for a term that is no saga id. Use an index."""
        return rows.none()

    # The answers of people to its waits.

    def signal_action(self, step: str) -> str | None:
        """Return the action of the host's policy that answers a wait; None for the general one."""
        return None

    def check_answer(self, row: Any, step: str, event: Event, *, by: str) -> None:
        """Raise an error if a person may not give this answer: `sagas.waits.WrongSignal` for wrong
        data, or an error of the host's policy. Asked before the signal of a person is stored.
        """

    def suggested_answer(self, row: Any, step: str) -> Mapping[str, Any] | None:
        """Return the fields with which a form for the answer begins; None for those required."""
        return None

    # Its cancel, and its invariants.

    def cancellation(self, row: TrackedSaga) -> Refusal | None:
        """Return the event with which staff cancel the saga; None if they may not."""
        return None

    @property
    def decides_cancel(self) -> bool:
        """Whether the domain has overridden `cancellation`, so that its None forbids a cancel."""
        return type(self).cancellation is not SagaKind.cancellation

    def violations(self, record: SagaRecord) -> Iterable[str]:
        """Yield a sentence for each invariant of the domain that does not hold for a saga."""
        return ()

    def rows(self) -> QuerySet[Any]:
        """Return all tracked rows of this kind."""
        return self.model._base_manager.using(get_home(self.home).alias)

    @property
    def _admin_page(self) -> str:
        return f"{self.home}_{self.model._meta.model_name}"


K = TypeVar("K", bound=type[SagaKind])

# Runs a query in a home, for `locate`.
Reader = Callable[[str, Callable[[], list[UUID]]], list[UUID]]

_registered: dict[type[TrackedSaga], SagaKind] = {}


def register(model: type[TrackedSaga]) -> Callable[[K], K]:
    """Register the decorated class for the sagas that a model tracks.

    Import its module when the app is ready. Raises TypeError for a second class of one model.
    """

    def decorate(kind: K) -> K:
        if model in _registered and _path(type(_registered[model])) != _path(kind):
            raise TypeError(
                f"{model.__name__} has two kinds: {type(_registered[model]).__name__} and "
                f"{kind.__name__}. Register one."
            )
        _registered[model] = kind(model)
        return kind

    return decorate


def _path(kind: type[SagaKind]) -> tuple[str, str]:
    return kind.__module__, kind.__qualname__


def kind_of(model: type[TrackedSaga]) -> SagaKind:
    """Return the kind of a model of tracked rows."""
    return _registered.get(model) or _default_kind(model)


@cache
def _default_kind(model: type[TrackedSaga]) -> SagaKind:
    return SagaKind(model)


def all_kinds() -> list[SagaKind]:
    """Return the kinds of all homes. The registered ones come first."""
    models = [model for name in home_names() for model in get_home(name).kinds]
    return [kind_of(model) for model in sorted(models, key=lambda model: model not in _registered)]


def get_kind(name: str) -> SagaKind | None:
    """Return the kind of a name, or None if no installed app has it."""
    return next((kind for kind in all_kinds() if kind.name == name), None)


def locate(sagas: Iterable[UUID], read: Reader | None = None) -> dict[UUID, SagaKind]:
    """Return the kind of each saga that has a row in a home that answers.

    One statement for each kind, by primary key. `read` gets a home and a query, and returns the
    rows, or none where the database does not answer.
    """
    missing = set(sagas)
    found: dict[UUID, SagaKind] = {}
    for kind in all_kinds():
        query = partial(_known, kind, missing)
        keys = set((read or _read)(kind.home, query)) if missing else set()
        found |= dict.fromkeys(keys, kind)
        missing = missing - keys
    return found


def _known(kind: SagaKind, sagas: set[UUID]) -> list[UUID]:
    return list(kind.rows().filter(pk__in=sagas).values_list("pk", flat=True))


def _read(home: str, query: Callable[[], list[UUID]]) -> list[UUID]:
    try:
        return query()
    except Error:
        return []


def find_saga(saga: UUID) -> TrackedSaga | None:
    """Return the tracked row of a saga of any kind, or None if there is none.

    If a home that may have it does not answer, and no other has it, the database's error is raised.
    """
    unanswered: Exception | None = None
    for kind in all_kinds():
        try:
            row: TrackedSaga | None = kind.rows().filter(pk=saga).first()
        except Error as error:
            unanswered = error
            continue
        if row is not None:
            return row

    if unanswered is not None:
        raise unanswered
    return None
