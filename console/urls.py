"""URLs of the console's own pages, below `admin/`. Only staff may open them."""

from django.contrib import admin
from django.urls import path

from console.views import (
    dashboard,
    failures,
    holds,
    limits,
    orders,
    proposals,
    runs,
    sagas,
    signals,
)

app_name = "console"
staff = admin.site.admin_view
urlpatterns = [
    path("failures/", staff(failures.list_failures), name="failures"),
    path("failures/<slug:key>/", staff(failures.show_failure), name="failure"),
    path("holds/", staff(holds.list_holds), name="holds"),
    path("holds/step/", staff(holds.hold_step), name="hold_step"),
    path("holds/limit/", staff(limits.limit_calls), name="limit_calls"),
    path("live/", staff(dashboard.live), name="live"),
    path("sagas/", staff(sagas.list_sagas), name="sagas"),
    path("sagas/<uuid:saga>/", staff(sagas.show_saga), name="saga"),
    path("sagas/<uuid:order_id>/act/", staff(orders.act), name="saga_act"),
    path("sagas/<uuid:order_id>/by-hand/", staff(orders.mark_done), name="saga_by_hand"),
    path("sagas/<uuid:order_id>/export/", staff(orders.export), name="saga_export"),
    path("sagas/<uuid:saga>/signal/<str:step>/", staff(signals.answer), name="saga_signal"),
    path("sagas/<uuid:saga>/propose/<slug:name>/", staff(proposals.propose), name="propose"),
    path("console/run/<uuid:run_id>/progress/", staff(runs.progress), name="progress"),
    path("console/run/<uuid:run_id>/confirm/", staff(runs.confirm), name="confirm"),
    path("console/run/<uuid:run_id>/approve/", staff(runs.approve), name="approve"),
    path("console/run/<uuid:run_id>/decline/", staff(runs.decline), name="decline"),
]
