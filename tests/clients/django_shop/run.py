"""A Django shop with one page for each mistake that a pooler can see, and its visitors.

The connection and the settings to try come from the environment. Prints `clients=N` at its end; any failure is an
exception.
"""

import argparse
import itertools
import logging
import os
import random
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
django.setup()

import waitress
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import connection

from store.data import fill
from store.urls import NAMES

# Of the web server, each with a connection of its own.
THREADS = 4
RIGHT = [f"right/{name}" for name in NAMES]


# As many visitors as threads let a visit wait for a moment, which is nothing to warn of.
logging.getLogger("waitress.queue").setLevel(logging.ERROR)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="how often each page is asked for")
    parser.add_argument("--parcels", type=int, default=400_000, help="rows of the table whose index is missing")
    parser.add_argument("--visitors", type=int, default=THREADS, help="how many ask at the same time")
    parser.add_argument("--keep", action="store_true", help="the tables and the data are there")
    parser.add_argument("--forever", action="store_true", help="visitors keep coming, some each second")
    return parser.parse_args()


def start():
    """Makes the tables and the data, and gives the address of the web server."""
    if not ARGUMENTS.keep:
        call_command("migrate", verbosity=0, run_syncdb=True)
        fill(ARGUMENTS.parcels)
        connection.close()
    server = waitress.create_server(get_wsgi_application(), host="127.0.0.1", port=0, threads=THREADS)
    threading.Thread(target=server.run, daemon=True).start()
    return f"http://127.0.0.1:{server.effective_port}"


def visit(name):
    with urllib.request.urlopen(f"{SHOP}/{name}/", timeout=30) as answer:
        assert b"rows" in answer.read()


def visit_together(names):
    with ThreadPoolExecutor(ARGUMENTS.visitors) as visitors:
        list(visitors.map(visit, names))


def visit_all(rounds):
    # Everything at once, in another order each time, as a shop has it.
    pages = (NAMES + RIGHT) * rounds
    random.Random(rounds).shuffle(pages)
    visit_together(pages)
    # One page for everybody: nothing but time is between the statements of two visits.
    for name in NAMES + RIGHT:
        visit_together([name] * rounds)


def keep_visiting():
    for name in itertools.cycle(NAMES + RIGHT):
        visit(name)
        time.sleep(0.05)


ARGUMENTS = arguments()
SHOP = start()
if ARGUMENTS.forever:
    print(f"serving on {SHOP}", flush=True)
    keep_visiting()
visit_all(ARGUMENTS.rounds)
print(f"clients={THREADS}")
