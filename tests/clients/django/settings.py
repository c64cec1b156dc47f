"""Settings as people copy them for a pooler; the environment chooses between them."""

import os

SECRET_KEY = "only for tests"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "shop"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"


def chosen(name):
    return os.environ.get(name) == "1"


DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ["PGHOST"],
        "PORT": os.environ["PGPORT"],
        "NAME": os.environ["PGDATABASE"],
        "USER": os.environ["PGUSER"],
        "PASSWORD": os.environ["PGPASSWORD"],
        "CONN_MAX_AGE": int(os.environ.get("CONN_MAX_AGE", "0")),
        "CONN_HEALTH_CHECKS": chosen("CONN_HEALTH_CHECKS"),
        "DISABLE_SERVER_SIDE_CURSORS": chosen("DISABLE_SERVER_SIDE_CURSORS"),
        "OPTIONS": {"server_side_binding": chosen("SERVER_SIDE_BINDING")},
    }
}
