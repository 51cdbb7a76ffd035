"""The console's pages in the admin: an order across its services; users and failed tasks in the same look."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

import orders.admin
from console.dossier import dossier_of
from orders.models import Order

__all__ = ["GroupAdmin", "OrderAdmin", "UserAdmin"]

admin.site.unregister([Order, User, Group])


@admin.register(Order)
class OrderAdmin(orders.admin.OrderAdmin):
    """Orders; the page of one shows it in all its services."""

    change_form_template = "console/order.html"
    inlines = ()

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the order's dossier."""
        order = self.get_object(request, object_id)
        gathered = {"dossier": dossier_of(order)} if isinstance(order, Order) else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **gathered})


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):
    """Users, in the console's look."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    """Groups, in the console's look."""
