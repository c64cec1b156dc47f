"""Settings as people have them; the environment chooses where two ways are common."""

import os

SECRET_KEY = "only for tests and the demo"
USE_TZ = True
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["store"]
MIDDLEWARE = ["store.tags.QueryTags"]
ROOT_URLCONF = "store.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Django sends texts with their values unless told otherwise; so every statement is prepared, each text once a connection.
PREPARED = {"server_side_binding": True, "prepare_threshold": 0}

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ["PGHOST"],
        "PORT": os.environ["PGPORT"],
        "NAME": os.environ["PGDATABASE"],
        "USER": os.environ["PGUSER"],
        "PASSWORD": os.environ["PGPASSWORD"],
        "CONN_MAX_AGE": int(os.environ.get("CONN_MAX_AGE", "0")),
        "ATOMIC_REQUESTS": os.environ.get("ATOMIC_REQUESTS") == "1",
        "DISABLE_SERVER_SIDE_CURSORS": True,
        "OPTIONS": PREPARED if os.environ.get("SHOP_PREPARED") == "1" else {},
    }
}

# Beyond Django's own: does each request say which trace it belongs to, as behind OpenTelemetry?
SHOP_TRACEPARENT = os.environ.get("SHOP_TRACEPARENT") == "1"
