"""Settings, read from the environment; where a variable is not set, from `.run/env`, which `make run` writes."""

import sys
from pathlib import Path

import environ

from config.databases import databases
from config.logs import logging_config

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
environ.Env.read_env(Path(env.str("RUN_DIR", default=str(BASE_DIR / ".run"))) / "env")

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"] if DEBUG else [])

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "knox",
    "django_celery_results",
    "sagas",
    "api",
    "orders",
    "payments",
    "inventory",
    "audit",
    "console",
]

MIDDLEWARE = [
    "api.request_id.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# --- Data ---------------------------------------------------------------------------------------------------------
DATABASES = databases(env)
DATABASE_ROUTERS = ["config.router.ServiceRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REDIS_URL = env.str("REDIS_URL")
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # straight from the packages: nothing to collect

# --- What is seen of it: docs/observability.md --------------------------------------------------------------------
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO").upper()
LOG_FORMAT = env.str("LOG_FORMAT", default="console" if DEBUG and sys.stderr.isatty() else "json")
LOGGING = logging_config(level=LOG_LEVEL, style=LOG_FORMAT)
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
METRICS_HOST = env.str("METRICS_HOST", default="127.0.0.1")
METRICS_PORT = env.int("METRICS_PORT", default=0)

# --- The saga -----------------------------------------------------------------------------------------------------
OUTBOX_FLUSH_SECONDS = env.float("OUTBOX_FLUSH_SECONDS", default=1)
OUTBOX_BATCH_SIZE = env.int("OUTBOX_BATCH_SIZE", default=100)
SAGA_STALL_SECONDS = env.float("SAGA_STALL_SECONDS", default=30)
SAGA_REDRIVES = env.int("SAGA_REDRIVES", default=5)
SAGA_STEP_ATTEMPTS = env.int("SAGA_STEP_ATTEMPTS", default=5)
SAGA_LEASE_SECONDS = env.float("SAGA_LEASE_SECONDS", default=30)
SAGA_RETENTION_DAYS = env.int("SAGA_RETENTION_DAYS", default=30)
PAYMENT_GATEWAY = env.str("PAYMENT_GATEWAY", default="simulated")

# --- Celery: a fast, lossy, duplicating messenger. Every setting is here for a failure that was seen without it. ----
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default=REDIS_URL)
CELERY_RESULT_BACKEND = "sagas.results:FailureLog"  # the database, but a fault of it holds up no worker
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_STORE_ERRORS_EVEN_IF_IGNORED = True  # django-celery-results then holds the failures only
CELERY_RESULT_EXTENDED = True  # with the task's name and arguments, to find the orders of a failure
CELERY_RESULT_EXPIRES = 30 * 24 * 3600
CELERY_TASK_DEFAULT_QUEUE = "orders"
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_RETRY_ON_WORKER_LOST = True  # bounded, where reject_on_worker_lost puts a killer back for ever
CELERY_TASK_TIME_LIMIT = env.float("TASK_TIME_LIMIT", default=50)
CELERY_TASK_SOFT_TIME_LIMIT = 0.8 * CELERY_TASK_TIME_LIMIT
CELERY_TASK_PUBLISH_RETRY = False  # a row waits in the outbox; a retry would only hold up whoever publishes
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_DB_REUSE_MAX = 10_000  # else Celery's Django fixup closes the connections around every task
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 1.2 * CELERY_TASK_TIME_LIMIT,  # just above it
    "unacked_restore_interval": 1,  # a killed worker's messages come back in seconds
    "unacked_restore_throttle": 1,
    "socket_timeout": 1,
    "socket_connect_timeout": 1,
    "retry_on_timeout": False,
}
CELERY_BEAT_SCHEDULE_FILENAME = env.str("CELERY_BEAT_SCHEDULE_FILENAME", default="celerybeat-schedule")
# Seconds. Celery compares it with the clock of the worker's host, which may be an hour ahead of beat's: a shorter one
# would have that worker discard every flush. Short enough that the heap an outage leaves is bounded.
PERIODIC_EXPIRY = 2 * 3600
CELERY_BEAT_SCHEDULE = {
    f"flush-{service}": {
        "task": "sagas.flush",
        "schedule": OUTBOX_FLUSH_SECONDS,
        "args": (service,),
        "options": {"queue": service, "expires": PERIODIC_EXPIRY},
    }
    for service in ("orders", "payments", "inventory")
} | {
    "rescue": {
        "task": "sagas.rescue",
        "schedule": max(1.0, SAGA_STALL_SECONDS / 6),
        "args": ("orders",),
        "options": {"queue": "orders", "expires": PERIODIC_EXPIRY},
    },
    "purge": {
        "task": "sagas.purge_ended",
        "schedule": 3600,
        "args": ("orders",),
        "options": {"queue": "orders", "expires": PERIODIC_EXPIRY},
    },
    "console-work": {
        "task": "console.work",
        "schedule": 5,
        "options": {"queue": "orders", "expires": PERIODIC_EXPIRY},
    },
    "purge-idempotency-keys": {
        "task": "orders.purge_idempotency_keys",
        "schedule": 3600,
        "options": {"queue": "orders", "expires": PERIODIC_EXPIRY},
    },
}

# --- The operators' console ---------------------------------------------------------------------------------------
LOGIN_REDIRECT_URL = "admin:index"
UNFOLD = {
    "SITE_TITLE": "Order saga",
    "SITE_HEADER": "Order saga",
    "SITE_SYMBOL": "account_tree",
    "SITE_URL": None,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": f"{STATIC_URL}console/icon.svg"}],
    "SHOW_HISTORY": False,
    "DASHBOARD_CALLBACK": "console.start.context",
    "SIDEBAR": {"navigation": "console.menu.navigation"},
}

# Minor units of a currency: a run that would refund more than this of one needs a second person.
CONSOLE_REFUND_LIMIT = env.int("CONSOLE_REFUND_LIMIT", default=100_000)

# --- REST ---------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_AUTHENTICATION_CLASSES": ["api.authentication.BearerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["api.parsing.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "api.pagination.CursorPagination",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "EXCEPTION_HANDLER": "api.problems.exception_handler",
}
REST_KNOX = {
    "SECURE_HASH_ALGORITHM": "hashlib.sha256",  # of 256 random bits: nothing to be guessed, so nothing to be slow for
    "AUTH_HEADER_PREFIX": "Bearer",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Order saga service",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "api.openapi.add_problems",
    ],
    "ENUM_NAME_OVERRIDES": {"OrderStatus": "orders.status.Status"},
}
