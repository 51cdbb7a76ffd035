"""The JSON of stock items and adjustments."""

from rest_framework import serializers

from inventory.models import StockAdjustment, StockItem

__all__ = ["AdjustmentSerializer", "StockItemSerializer"]


class StockItemSerializer(serializers.ModelSerializer[StockItem]):
    """The pieces of one SKU. `on_hand` excludes reserved pieces, so `available` equals it.

    `shipped` includes the pieces that came back, which `returned` counts.
    """

    available = serializers.IntegerField(read_only=True)

    class Meta:
        model = StockItem
        fields = ("sku", "on_hand", "reserved", "available", "shipped", "returned")
        read_only_fields = fields


class AdjustmentSerializer(serializers.ModelSerializer[StockAdjustment]):
    """An adjustment: pieces, reason, user and time."""

    sku = serializers.CharField(source="item_id", read_only=True)

    class Meta:
        model = StockAdjustment
        fields = ("id", "sku", "quantity", "reason", "by", "at")
        read_only_fields = fields
