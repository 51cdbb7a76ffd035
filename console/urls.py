"""Where the console's own pages live, below `admin/`; all are for staff."""

from django.contrib import admin
from django.urls import path

from console import holding, views

app_name = "console"
urlpatterns = [
    path("failures/", admin.site.admin_view(views.failing), name="failures"),
    path("failures/<slug:key>/", admin.site.admin_view(views.failure), name="failure"),
    path("holds/", admin.site.admin_view(holding.holding), name="holds"),
    path("holds/step/", admin.site.admin_view(holding.hold_step), name="hold_step"),
    path("live/", admin.site.admin_view(views.live), name="live"),
    path("orders/order/<uuid:order_id>/act/", admin.site.admin_view(views.act), name="act"),
    path(
        "orders/order/<uuid:order_id>/by-hand/", admin.site.admin_view(holding.mark), name="by_hand"
    ),
    path(
        "orders/order/<uuid:order_id>/export/", admin.site.admin_view(views.export), name="export"
    ),
    path(
        "console/run/<uuid:run_id>/progress/",
        admin.site.admin_view(views.progress),
        name="progress",
    ),
    path(
        "console/run/<uuid:run_id>/confirm/", admin.site.admin_view(views.confirm), name="confirm"
    ),
    path(
        "console/run/<uuid:run_id>/approve/", admin.site.admin_view(views.approve), name="approve"
    ),
    path(
        "console/run/<uuid:run_id>/decline/", admin.site.admin_view(views.decline), name="decline"
    ),
]
