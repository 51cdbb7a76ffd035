"""A plain create view of Django REST framework: it only inserts an order and its lines."""

from typing import Any

from django.db import transaction
from rest_framework import generics, serializers
from rest_framework.parsers import JSONParser

from orders.models import Order, OrderLine, Product

__all__ = ["BareOrdersView"]


class LineSerializer(serializers.ModelSerializer[OrderLine]):
    """A line of an order."""

    class Meta:
        model = OrderLine
        fields = ("sku", "quantity")


class OrderSerializer(serializers.ModelSerializer[Order]):
    """An order with its lines, as in REST framework's documentation of nested serializers."""

    lines = LineSerializer(many=True)

    class Meta:
        model = Order
        fields = ("id", "status", "amount", "currency", "payment_method", "lines", "created_at")
        read_only_fields = ("id", "status", "amount", "currency", "created_at")

    def create(self, validated_data: dict[str, Any]) -> Order:
        """Insert the order and its lines, at today's prices."""
        lines = validated_data.pop("lines")
        products = Product.objects.in_bulk([line["sku"] for line in lines], field_name="sku")
        amount = sum(products[line["sku"]].unit_amount * line["quantity"] for line in lines)

        with transaction.atomic():
            order = Order.objects.create(**validated_data, amount=amount, currency="eur", plan={})
            OrderLine.objects.bulk_create(
                OrderLine(order=order, unit_amount=products[line["sku"]].unit_amount, **line)
                for line in lines
            )

        return order


class BareOrdersView(generics.CreateAPIView[Order]):
    """Create orders."""

    serializer_class = OrderSerializer
    parser_classes = (JSONParser,)

    def perform_create(self, serializer: serializers.BaseSerializer[Order]) -> None:
        """Insert the order for the user."""
        serializer.save(user=self.request.user)
