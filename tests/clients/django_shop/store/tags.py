"""SQLCommenter tags: each statement says in a comment which page it is for, as `google-cloud-sqlcommenter` does it."""

import secrets
from urllib.parse import quote

import django
from django.conf import settings
from django.db import connection

FRAMEWORK = f"django:{django.get_version()}"


def comment(tags):
    """Keys sorted, keys and values URL-encoded, single quotes around values."""
    pairs = [f"{quote(key)}='{quote(value)}'" for key, value in sorted(tags.items()) if value]
    return f" /*{','.join(pairs)}*/"


class QueryTags:
    """Django middleware."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        traceparent = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01" if settings.SHOP_TRACEPARENT else ""

        def tag(execute, sql, params, many, context):
            # The route is known once Django has found the view.
            match = request.resolver_match
            if match:
                tags = {"application": "shop", "framework": FRAMEWORK, "traceparent": traceparent}
                text = comment(tags | {"controller": match.view_name, "route": f"/{match.route}"})
                # Where there are parameters, psycopg takes %% for %.
                sql += text if params is None else text.replace("%", "%%")
            return execute(sql, params, many, context)

        with connection.execute_wrapper(tag):
            return self.get_response(request)
