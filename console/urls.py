"""URLs of the console's own pages, below `admin/`. Only staff may open them."""

from django.contrib import admin
from django.urls import path

from console.views import dashboard, failures, holds, orders, runs

app_name = "console"
staff = admin.site.admin_view
urlpatterns = [
    path("failures/", staff(failures.list_failures), name="failures"),
    path("failures/<slug:key>/", staff(failures.show_failure), name="failure"),
    path("holds/", staff(holds.list_holds), name="holds"),
    path("holds/step/", staff(holds.hold_step), name="hold_step"),
    path("live/", staff(dashboard.live), name="live"),
    path("orders/order/<uuid:order_id>/act/", staff(orders.act), name="act"),
    path("orders/order/<uuid:order_id>/by-hand/", staff(orders.mark_done), name="by_hand"),
    path("orders/order/<uuid:order_id>/export/", staff(orders.export), name="export"),
    path("console/run/<uuid:run_id>/progress/", staff(runs.progress), name="progress"),
    path("console/run/<uuid:run_id>/confirm/", staff(runs.confirm), name="confirm"),
    path("console/run/<uuid:run_id>/approve/", staff(runs.approve), name="approve"),
    path("console/run/<uuid:run_id>/decline/", staff(runs.decline), name="decline"),
]
