"""Settings from the environment, and from nothing else."""

import sys
from datetime import timedelta
from pathlib import Path

import environ

from config import broker, security
from config.databases import SESSION_SETTINGS, databases
from config.logs import logging_config
from config.refund_limits import refund_limits
from config.schedule import beat_schedule
from config.version import VERSION
from services import NAMES

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()

DEBUG = env.bool("DEBUG", default=False)
ALLOWED_HOSTS = security.allowed_hosts(env, debug=DEBUG)
EXPOSED = security.is_exposed(ALLOWED_HOSTS, debug=DEBUG)
SECRET_KEY = security.secret_key(env, exposed=EXPOSED)
# The unfit settings that this system accepts, by the names in config.checks.
ALLOW_INSECURE = env.list("ALLOW_INSECURE", default=[])
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])

INSTALLED_APPS = [
    "config.apps.ProjectConfig",
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
    "staff",
    "console",  # before sagas, because its command replaces the engine's
    "axes",
    "csp",
    "django_celery_results",
    "sagas",
    "api",
    *NAMES,  # the services: services/registry.py
    "audit",
    "recovery",
    "privacy",
    "backoffice",
    "doctor",
]

MIDDLEWARE = [
    "api.requests.request_id.RequestIdMiddleware",
    "api.requests.under_way.remember_request",
    "api.monitoring.before_hosts.AnswerProbes",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "backoffice.csp.theme_policy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "api.requests.malformed.refuse_malformed",
    "api.requests.conditions.RefuseConditions",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "api.auth.lockout.LimitAdminLogins",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "staff.refusals.LogRefusals",
    "axes.middleware.AxesMiddleware",  # last, because it replaces the view's response
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

# --- Databases and cache -------------------------------------------------------------------------
DATABASES = databases(env)
# `migrate_all` stores these in its role, because a pooler drops the settings of a client.
SAGA_SESSION_SETTINGS = SESSION_SETTINGS
SERVED = env.list("SERVICES", default=[]) or [*NAMES]  # the services of this process
DATABASE_ROUTERS = ["config.router.ServiceRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REDIS_URL = broker.redis_url(env)
CACHES = {"default": security.cache(REDIS_URL)}
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
    )
]

# --- Access --------------------------------------------------------------------------------------
# A service that other machines can reach uses https, unless HTTPS=off.
HTTPS = env.bool("HTTPS", default=EXPOSED)
SECURE_SSL_REDIRECT = HTTPS
# Machines of our own network request these, without our certificate.
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$"]
SECURE_PROXY_SSL_HEADER = security.proxy_ssl_header(env)
SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", default=365 * 24 * 3600) if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
CSRF_COOKIE_HTTPONLY = True
CONTENT_SECURITY_POLICY = security.CONTENT_SECURITY_POLICY

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "staff.backends.AuditorsOnlyView",  # before the backend that grants permissions
    "django.contrib.auth.backends.ModelBackend",
]
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = env.int("LOGIN_FAILURES", default=5)
AXES_COOLOFF_TIME = timedelta(seconds=env.float("LOGIN_COOLOFF_SECONDS", default=900))
AXES_RESET_ON_SUCCESS = True
# A further failure during the lockout is not stored, and does not prolong it.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_DISABLE_ACCESS_LOG = True
AXES_LOCKOUT_CALLABLE = "api.auth.lockout.lockout_response"
AXES_CLIENT_IP_CALLABLE = "api.requests.client_ip.client_ip"
AXES_WHITELIST_CALLABLE = "api.auth.lockout.is_address_unknown"
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "csrfmiddlewaretoken"]
AXES_VERBOSE = False

TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", default=0)
# Requests a minute of one user; 0 for no limit. An address may belong to many users, so its limit
# is RATE_LIMIT_ADDRESS_FACTOR times as high.
RATE_LIMITS = {
    "read": env.int("RATE_LIMIT_READS", default=6_000),
    "write": env.int("RATE_LIMIT_WRITES", default=1_200),
    "orders": env.int("RATE_LIMIT_ORDERS", default=1_200),
    "login": env.int("RATE_LIMIT_LOGINS", default=60),
    "stranger": env.int("RATE_LIMIT_STRANGERS", default=600),
}
RATE_LIMIT_ADDRESS_FACTOR = env.int("RATE_LIMIT_ADDRESS_FACTOR", default=5)

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # serves the packages' own files, so collectstatic is not needed

# --- Logs and metrics: docs/observability.md -----------------------------------------------------
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO").upper()
LOG_FORMAT = env.str("LOG_FORMAT", default="console" if DEBUG and sys.stderr.isatty() else "json")
LOGGING = logging_config(level=LOG_LEVEL, style=LOG_FORMAT)
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
METRICS_HOST = env.str("METRICS_HOST", default="127.0.0.1")
METRICS_PORT = env.int("METRICS_PORT", default=0)

# --- Sagas and payments --------------------------------------------------------------------------
OUTBOX_FLUSH_SECONDS = env.float("OUTBOX_FLUSH_SECONDS", default=1)
OUTBOX_BATCH_SIZE = env.int("OUTBOX_BATCH_SIZE", default=100)
SAGA_STALL_SECONDS = env.float("SAGA_STALL_SECONDS", default=30)
SAGA_REDRIVES = env.int("SAGA_REDRIVES", default=5)
SAGA_STEP_ATTEMPTS = env.int("SAGA_STEP_ATTEMPTS", default=5)
SAGA_LEASE_SECONDS = env.float("SAGA_LEASE_SECONDS", default=30)
SAGA_CALLS_AT_ONCE = env.int("SAGA_CALLS_AT_ONCE", default=64)
SAGA_NETWORK_IN_STEPS = env.str("SAGA_NETWORK_IN_STEPS", default="warn")
SAGA_RETENTION_DAYS = env.int("SAGA_RETENTION_DAYS", default=30)
SAGA_SIGNING_KEYS = security.signing_keys(env)
SAGA_ACCEPT_UNSIGNED = env.bool("SAGA_ACCEPT_UNSIGNED", default=False)
SAGA_USE_DJANGO_LOGGING = True
SAGA_FAST_JSON = True
# Fields of events that no page of the admin shows: an address at which only the customer may act.
SAGA_PRIVATE_FIELDS = ("url",)
ORDER_SAGA = env.str("ORDER_SAGA", default="charge_first")
# Whether products may have the price 0. An order whose amount is 0 runs without payments.
FREE_PRODUCTS = env.bool("FREE_PRODUCTS", default=False)

# Seconds after which an order that is not fulfilled is cancelled. 0: no deadline.
ORDER_DEADLINE_SECONDS = env.float("ORDER_DEADLINE_SECONDS", default=0.0)
PAYMENT_GATEWAY = env.str("PAYMENT_GATEWAY", default="simulated")
PRICE_CHECK = env.str("PRICE_CHECK", default="payments.gateways.reason_not_chargeable")
PAYMENT_SUMMARIES = env.str("PAYMENT_SUMMARIES", default="payments.summaries.payment_summaries")
STAFF_CANCEL = env.str("STAFF_CANCEL", default="backoffice.staff_cancel.cancel_as_staff")
RETURNABLE_ORDERS = env.str("RETURNABLE_ORDERS", default="orders.returnable.returnable_order")
# Days for which a return waits for its approval, and then for its goods.
RETURN_APPROVAL_DAYS = env.float("RETURN_APPROVAL_DAYS", default=7)
RETURN_DAYS = env.float("RETURN_DAYS", default=30)
# A refund of returned goods above this needs an approval. The first is in hundredths, for the
# currencies that are counted in them. The second has the minor units of each currency it names.
RETURN_APPROVAL_LIMIT = env.int("RETURN_APPROVAL_LIMIT", default=50_000)
RETURN_APPROVAL_LIMITS = refund_limits(
    env.list("RETURN_APPROVAL_LIMITS", default=[]), setting="RETURN_APPROVAL_LIMITS"
)
PAYMENT_ACTION_SECONDS = env.float("PAYMENT_ACTION_SECONDS", default=600)
PAYMENT_RETURN_URL = env.str("PAYMENT_RETURN_URL", default="http://localhost:8000/")
RECONCILE_SECONDS = env.float("RECONCILE_SECONDS", default=3600)
AUDIT_SECONDS = env.float("AUDIT_SECONDS", default=3600)
STRIPE_API_KEY = env.str("STRIPE_API_KEY", default="")
STRIPE_API_BASE = env.str("STRIPE_API_BASE", default="https://api.stripe.com")
STRIPE_WEBHOOK_SECRET = env.str("STRIPE_WEBHOOK_SECRET", default="")

# --- Celery --------------------------------------------------------------------------------------
# `sagas.celery.configure` has a default for each setting that the engine relies on. These settings
# differ from the defaults, or the environment decides.
CELERY_BROKER_URL = broker.broker_url(env, default=REDIS_URL)
# Off, because any client that can write to the broker could use it.
CELERY_WORKER_ENABLE_REMOTE_CONTROL = env.bool("WORKER_REMOTE_CONTROL", default=False)
CELERY_TASK_DEFAULT_QUEUE = "orders"
CELERY_TASK_TIME_LIMIT = env.float("TASK_TIME_LIMIT", default=50)
CELERY_TASK_SOFT_TIME_LIMIT = 0.8 * CELERY_TASK_TIME_LIMIT
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# Seconds that the service manager gives a process to stop. `doctor` compares them with its tasks.
STOP_GRACE_SECONDS = env.float("STOP_GRACE_SECONDS", default=0)
CELERY_BEAT_SCHEDULE_FILENAME = env.str(
    "CELERY_BEAT_SCHEDULE_FILENAME", default="celerybeat-schedule"
)
CELERY_BEAT_SCHEDULE = beat_schedule()

# --- Long polling --------------------------------------------------------------------------------
# The number of requests that may wait in one process. gunicorn.conf.py sets it, because it must be
# below the number of threads.
WAITING_PLACES = env.int("WAITING_PLACES", default=0)
# How many of them one user may have; 0 for an eighth, but at least four.
WAITING_PLACES_PER_USER = env.int("WAITING_PLACES_PER_USER", default=0)

# --- The operators' console ----------------------------------------------------------------------
LOGIN_REDIRECT_URL = "admin:index"
UNFOLD = {
    "SITE_TITLE": "Order saga",
    "SITE_HEADER": "Order saga",
    "SITE_SYMBOL": "account_tree",
    "SITE_URL": None,
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": f"{STATIC_URL}console/icon.svg"}
    ],
    "STYLES": [f"{STATIC_URL}console/console.css"],
    "SHOW_HISTORY": False,
    "DASHBOARD_CALLBACK": "console.dashboard.sections.add_sections",
    "SIDEBAR": {"navigation": "backoffice.navigation.navigation"},
}

# One person may refund this much within 24 hours without a second person, in each currency.
# CONSOLE_REFUND_LIMITS has the minor units of each currency that it names. CONSOLE_REFUND_LIMIT is
# for the others, in hundredths. A currency that is not counted in hundredths needs its own.
CONSOLE_REFUND_LIMIT = env.int("CONSOLE_REFUND_LIMIT", default=100_000)
CONSOLE_REFUND_LIMITS = refund_limits(env.list("CONSOLE_REFUND_LIMITS", default=[]))
# Days after which unconfirmed drafts, ended runs and log entries are deleted.
CONSOLE_DRAFT_DAYS = env.int("CONSOLE_DRAFT_DAYS", default=7)
CONSOLE_RUN_DAYS = env.int("CONSOLE_RUN_DAYS", default=90)
CONSOLE_LOG_DAYS = env.int("CONSOLE_LOG_DAYS", default=730)

# --- REST ----------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_AUTHENTICATION_CLASSES": ["api.auth.authentication.BearerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["api.auth.permissions.IsCustomer"],
    "DEFAULT_THROTTLE_CLASSES": ["api.auth.throttling.RateLimit"],
    "DEFAULT_PARSER_CLASSES": ["api.requests.parsing.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "api.responses.pagination.CursorPagination",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "URL_FORMAT_OVERRIDE": None,  # only the Accept header chooses the format
    "EXCEPTION_HANDLER": "api.problems.handlers.exception_handler",
}
REST_KNOX = {
    # Fast is enough: a token has 256 random bits, and cannot be guessed.
    "SECURE_HASH_ALGORITHM": "hashlib.sha256",
    "AUTH_HEADER_PREFIX": "Bearer",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Order saga service",
    "DESCRIPTION": "Every order ends fulfilled, or cancelled with its money refunded and its stock "
    "released. Amounts are integers in minor units of a currency (ISO 4217, lower-case). Times are "
    "in UTC. Errors are problem documents (RFC 9457). The URL in `type` explains the error.",
    "VERSION": VERSION,
    "TAGS": [
        {"name": "auth", "description": "Tokens: `Authorization: Bearer …` with every other call."},
        {
            "name": "orders",
            "description": "Place, read, follow and cancel orders. Customers see their own.",
        },
        {
            "name": "products",
            "description": "The catalogue. Every user can read it, staff can change it.",
        },
        {
            "name": "stock",
            "description": "Stock levels and adjustments. For staff.",
        },
        {"name": "payments", "description": "The payment of each order. For staff."},
        {
            "name": "returns",
            "description": "Return pieces of fulfilled orders, and follow the refund. Customers "
            "see their own.",
        },
        {
            "name": "sagas",
            "description": "Answer the waits of orders, returns and other sagas. For staff.",
        },
    ],
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_PATCH": False,  # an input struct itself says which of its fields are optional
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "api.openapi.add_components",
    ],
    "ENUM_NAME_OVERRIDES": {
        "OrderStatus": "orders.api.serializers.STATUSES",
        "ReturnStatus": "returns.api.serializers.STATUSES",
        "ReturnKind": "returns.api.serializers.KINDS",
        "SignalOutcome": "api.signals.RESULTS",
        "PaymentStatus": "payments.api.serializers.STATUSES",
        "OrderPaymentStatus": "orders.api.serializers.PAYMENT_STATUSES",
        "DisputeStatus": "payments.api.serializers.DISPUTE_STATUSES",
    },
}
