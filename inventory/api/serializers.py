"""How stock and its adjustments look from outside."""

from rest_framework import serializers

from inventory.models import StockAdjustment, StockItem

__all__ = ["AdjustmentSerializer", "StockItemSerializer"]


class StockItemSerializer(serializers.ModelSerializer[StockItem]):
    """The pieces of one SKU. `on_hand` leaves out what is reserved, so `available` is the same
    number.
    """

    available = serializers.IntegerField(read_only=True)

    class Meta:
        model = StockItem
        fields = ("sku", "on_hand", "reserved", "available", "shipped")
        read_only_fields = fields


class AdjustmentSerializer(serializers.ModelSerializer[StockAdjustment]):
    """An adjustment that was made: how many pieces, why, by whom and when."""

    sku = serializers.CharField(source="item_id", read_only=True)

    class Meta:
        model = StockAdjustment
        fields = ("id", "sku", "quantity", "reason", "by", "at")
        read_only_fields = fields
