"""URLs of the page of an order, below `admin/`, as earlier releases have them."""

from django.contrib import admin
from django.urls import path

from console.views import orders

app_name = "backoffice"
staff = admin.site.admin_view
urlpatterns = [
    path("orders/order/<uuid:order_id>/act/", staff(orders.act), name="act"),
    path("orders/order/<uuid:order_id>/by-hand/", staff(orders.mark_done), name="by_hand"),
    path("orders/order/<uuid:order_id>/export/", staff(orders.export), name="export"),
]
