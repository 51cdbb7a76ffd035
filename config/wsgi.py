"""The API and the admin, for a WSGI server: `gunicorn config.wsgi`."""

import os

from django.core.wsgi import get_wsgi_application

from api.requests.long_headers import shorten_content_type

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = shorten_content_type(get_wsgi_application())

from sagas.checks.at_start import look_at_servers, refuse_to_start  # noqa: E402  needs the app registry

refuse_to_start("API")
look_at_servers("API")
