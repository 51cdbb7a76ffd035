"""The URLs of the API and the admin."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("api.urls_root")),
    path("api/v1/", include("api.urls")),
    path("api/v1/", include("orders.api.urls")),
    path("api/v1/", include("payments.api.urls")),
    path("api/v1/", include("inventory.api.urls")),
    path("api/v1/", include("returns.api.urls")),
    # Last of the API: any other path below api/ is answered with a problem document.
    path("api/", include("api.urls_unknown")),
    path("doctor/", include("doctor.urls")),
    path("admin/", include("backoffice.urls")),
    path("admin/", include("console.urls")),
    path("admin/", admin.site.urls),
]

handler400 = "api.problems.handlers.bad_request"
handler403 = "api.problems.handlers.permission_denied"
handler404 = "api.problems.handlers.not_found"
handler500 = "api.problems.handlers.server_error"
