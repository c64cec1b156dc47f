"""`migrate` within a session lock, as deployments of several copies of an application do it."""

import time

from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

LOCK = 71_077_345


class Command(BaseCommand):
    help = "migrates while no other copy does"

    def add_arguments(self, parser):
        # One that waits within a statement has a snapshot, for which CREATE INDEX CONCURRENTLY waits.
        parser.add_argument("--try-again", action="store_true")
        parser.add_argument("target", nargs="*")

    def handle(self, *args, **options):
        with connection.cursor() as cursor:
            if options["try_again"]:
                cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
                while not cursor.fetchone()[0]:
                    time.sleep(0.05)
                    cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
            else:
                cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])
            before = len(MigrationExecutor(connection).loader.applied_migrations)
            call_command("migrate", *options["target"], verbosity=0)
            after = len(MigrationExecutor(connection).loader.applied_migrations)
            cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
            assert cursor.fetchone() == (True,), "the lock was another session's"
        print(f"applied={after - before}")
