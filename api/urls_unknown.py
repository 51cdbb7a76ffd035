"""What remains of the paths below /api/ once all others were tried."""

from django.urls import path

from api.problems.handlers import unknown_path

urlpatterns = [path("<path:rest>", unknown_path), path("", unknown_path)]
