"""The parent and the children of a saga, as members of its JSON."""

from typing import Any

import msgspec
from django.db import Error
from rest_framework import serializers
from rest_framework.fields import SkipField

from sagas.definition.plan import Plan
from sagas.models import TrackedSaga
from sagas.operations.saga_links import ChildLink, ParentLink, children_of, parent_of

__all__ = ["WithRelatives"]


class ParentSagaSerializer(serializers.Serializer[ParentLink]):
    """The saga that started this one, and its step that waits for the end of this one."""

    id = serializers.UUIDField()
    step = serializers.CharField()

    def get_attribute(self, instance: Any) -> Any:
        """Leave the member out. `WithRelatives` adds it."""
        raise SkipField


class ChildSagaSerializer(serializers.Serializer[ChildLink]):
    """A saga that a step of this one has started. `saga` is the name of its declaration."""

    id = serializers.UUIDField()
    step = serializers.CharField()
    saga = serializers.CharField()
    ended_at = serializers.DateTimeField(allow_null=True)
    needs_attention = serializers.BooleanField()


class WithRelatives(serializers.Serializer[Any]):
    """Adds the parent and the children to the JSON of one saga, if it has any; not to lists.

    Derive the serializer of a resource from it first. The children are read from the homes of the
    steps that start them, and only if the plan has such a step.
    """

    parent_saga = ParentSagaSerializer(required=False)
    child_sagas = ChildSagaSerializer(
        many=True, required=False, allow_null=True, help_text="Null while they cannot be read."
    )

    def to_representation(self, instance: Any) -> Any:
        """Return the JSON of a row."""
        shown = super().to_representation(instance)
        shown.pop("child_sagas", None)
        listed = self.root is not self
        return shown if listed else {**shown, **_relatives_of(instance)}


def _relatives_of(row: TrackedSaga) -> dict[str, Any]:
    parent = parent_of(row)
    found: dict[str, Any] = {"parent_saga": ParentSagaSerializer(parent).data} if parent else {}
    try:
        plan = msgspec.convert(row.plan, Plan)
    except msgspec.ValidationError:  # of a release whose plans had another form
        return found
    try:
        children = list(children_of(row.pk, plan))
    except Error:
        return {**found, "child_sagas": None}
    if not children:
        return found
    shown: Any = children
    return {**found, "child_sagas": ChildSagaSerializer(shown, many=True).data}
