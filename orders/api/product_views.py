"""The REST views of products. Views parse and answer; services commit."""

from typing import Any, ClassVar

import msgspec
from django.http import Http404
from django.urls import reverse
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response

from api.auth.authentication import authenticated_user
from api.auth.permissions import AsStaffMay
from api.problems.exceptions import Problem
from orders import catalogue, selectors
from orders.api import openapi
from orders.api.problem_types import NOT_CHARGEABLE, SKU_TAKEN
from orders.api.requests import new_product, product_changes
from orders.api.serializers import ProductSerializer
from orders.models import Product
from staff.writes import staff_write

__all__ = ["ProductView", "ProductsView"]


@openapi.products_view
class ProductsView(generics.ListAPIView[Product]):
    """Lists and adds products."""

    serializer_class = ProductSerializer
    permission_classes = (AsStaffMay,)
    write_actions: ClassVar = {"POST": "add_product"}
    ordering: ClassVar = ("sku",)
    queryset = selectors.products()

    def post(self, request: Request) -> Response:
        """Add a product. Staff need the permission `orders.add_product`."""
        new, actor = new_product(request), authenticated_user(request)
        try:
            with staff_write(actor, "add_product", via="api", subject=new.sku) as write:
                product = catalogue.add_product(msgspec.to_builtins(new))
                write.outcome = catalogue.describe_product(product)
        except catalogue.SkuTaken as error:
            raise Problem(SKU_TAKEN, f"A product with the SKU {new.sku} already exists.") from error
        except catalogue.NotChargeable as error:
            raise Problem(NOT_CHARGEABLE, str(error)) from error
        location = reverse("product-detail", args=[product.sku])
        return Response(ProductSerializer(product).data, 201, headers={"Location": location})


@openapi.product_view
class ProductView(generics.RetrieveAPIView[Product]):
    """Reads and changes one product."""

    serializer_class = ProductSerializer
    permission_classes = (AsStaffMay,)
    write_actions: ClassVar = {"PATCH": "change_product"}
    lookup_field = "sku"
    queryset = selectors.products()

    def patch(self, request: Request, sku: str) -> Response:
        """Change a product for future orders. Staff need `orders.change_product`.

        A new price needs a `reason`. The log of staff keeps the reason of any change.
        """
        changes: dict[str, Any] = msgspec.to_builtins(product_changes(request))
        actor, reason = authenticated_user(request), changes.pop("reason", "")
        try:
            with staff_write(actor, "change_product", via="api", subject=sku, why=reason) as write:
                write.outcome = catalogue.change_product(sku, changes, reason=reason)
        except Product.DoesNotExist as error:
            raise Http404 from error
        except catalogue.NotChargeable as error:
            raise Problem(NOT_CHARGEABLE, str(error)) from error
        return Response(ProductSerializer(self.get_object()).data)
