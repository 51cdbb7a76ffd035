"""The JSON of returns and their timelines."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from api.resources.relatives import WithRelatives
from api.resources.timeline import EventSerializer
from returns.models import Return, ReturnLine
from returns.status import Kind, Status

__all__ = ["KINDS", "STATUSES", "ReturnEventSerializer", "ReturnSerializer"]

# The meaning of each status for the customer, shown in the schema.
STATUSES = (
    (Status.REQUESTED.value, "requested; nothing is decided"),
    (Status.AWAITING_APPROVAL.value, "a person of the shop must approve the refund"),
    (Status.AWAITING_GOODS.value, "the goods are on their way back to the shop"),
    (Status.REFUNDING.value, "accepted: the money, if any, is being given back"),
    (Status.COMPLETED.value, "done: the money, if any, is given back"),
    (Status.CLOSING.value, "refused or cancelled, and about to end"),
    (Status.REFUSED.value, "the shop has refused it; `failure` has the reason"),
    (Status.CANCELLED.value, "cancelled, or not completed in time; `failure` has the reason"),
)
KINDS = (
    (Kind.GOODS.value, "goods that come back"),
    (Kind.GOODWILL.value, "money that the shop gives back without goods"),
)


class ReturnLineSerializer(serializers.ModelSerializer[ReturnLine]):
    """A line of a return. `received` and `resellable` are null until the goods have come back."""

    class Meta:
        model = ReturnLine
        fields = ("sku", "quantity", "unit_amount", "received", "resellable")
        read_only_fields = fields


class ReturnFailureSerializer(serializers.Serializer[Return]):
    """The reason why a return was refused or cancelled, or is about to be."""

    code = serializers.CharField(
        source="failure_code",
        help_text="For programs: `return_declined`, `nothing_received`, `approval_expired`, "
        "`goods_missing`, `cancelled_by_customer`, `cancelled_by_shop`, and others.",
    )
    detail = serializers.CharField(source="failure_detail", help_text="For people.")


class ReturnSerializer(WithRelatives, serializers.ModelSerializer[Return]):
    """A return, or goodwill. Amounts are in minor units of `currency`.

    `amount` is the most that is refunded. Once the return is accepted, it is the refund itself. It
    is 0 if only free products come back: then there is no refund.
    """

    order_id = serializers.UUIDField(read_only=True)
    kind = serializers.ChoiceField(choices=KINDS, read_only=True)
    status = serializers.ChoiceField(choices=STATUSES, read_only=True)
    lines = ReturnLineSerializer(source="requested_lines", many=True, read_only=True)
    reason = serializers.SerializerMethodField()
    failure = serializers.SerializerMethodField()

    class Meta:
        model = Return
        fields = (
            "id",
            "order_id",
            "kind",
            "status",
            "amount",
            "currency",
            "lines",
            "reason",
            "failure",
            "needs_attention",
            "created_at",
            "updated_at",
            "parent_saga",
            "child_sagas",
        )
        read_only_fields = fields

    def get_reason(self, row: Return) -> str | None:
        """The customer's own reason. The reason of goodwill is for staff, so customers get null."""
        is_customer = self.context.get("reader") == row.user_id
        return None if row.kind == Kind.GOODWILL and is_customer else row.reason

    @extend_schema_field(ReturnFailureSerializer(allow_null=True))
    def get_failure(self, row: Return) -> dict[str, Any] | None:
        """Return the reason, if any."""
        return dict(ReturnFailureSerializer(row).data) if row.failure_code else None


class ReturnEventSerializer(EventSerializer):
    """An event of a return, with the service that reported it."""
