"""A small Django project through the pooler: migrations, ORM, atomic blocks, iterators, many threads.

The connection and the settings to try come from the environment. Prints `clients=N` at its end; any failure
is an exception.
"""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
django.setup()

from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.db import IntegrityError, close_old_connections, connection, transaction
from django.db.models import Count, F, Sum

from shop.models import Customer, Order

CLIENTS = 8
REQUESTS = 10


def objects_are_made_and_found(customer):
    Order.objects.bulk_create(Order(customer=customer, amount=Decimal(n)) for n in range(1, 51))
    total = customer.orders.aggregate(total=Sum("amount"), count=Count("id"))
    assert total == {"total": Decimal(1275), "count": 50}, total
    assert Order.objects.select_related("customer").filter(customer=customer).first().customer == customer
    assert [o.amount for o in customer.orders.order_by("-amount")[:3]] == [50, 49, 48]
    customer.note = {"seen": [1, 2, {"deep": True}]}
    customer.save()
    assert Customer.objects.get(note__seen__2__deep=True, pk=customer.pk).name == customer.name


def transactions_are_kept(customer):
    with transaction.atomic():
        Customer.objects.select_for_update().filter(pk=customer.pk).update(credit=F("credit") + 10)
        try:
            with transaction.atomic():
                Customer.objects.create(name=customer.name)
            raise AssertionError("a second customer of that name")
        except IntegrityError:
            pass
        Customer.objects.filter(pk=customer.pk).update(credit=F("credit") + 1)
    try:
        with transaction.atomic():
            Customer.objects.filter(pk=customer.pk).update(credit=F("credit") + 100)
            raise LookupError
    except LookupError:
        pass
    customer.refresh_from_db()
    assert customer.credit == 11, customer.credit


def iterators_read_all(customer):
    # Inside a transaction the server-side cursor, where it is switched on, needs nothing more.
    with transaction.atomic():
        amounts = [order.amount for order in customer.orders.order_by("id").iterator(chunk_size=7)]
    assert amounts == list(range(1, 51)), amounts
    if connection.settings_dict["DISABLE_SERVER_SIDE_CURSORS"]:
        amounts = []
        for order in customer.orders.order_by("id").iterator(chunk_size=7):
            amounts.append(order.amount)
            Order.objects.filter(pk=order.pk).update(amount=F("amount"))
        assert amounts == list(range(1, 51)), amounts


def request(thread, number):
    """What one web request does, with the signals that make Django open and close connections."""
    request_started.send(sender=None)
    customer = Customer.objects.create(name=f"{os.getpid()}-{thread}-{number}")
    objects_are_made_and_found(customer)
    transactions_are_kept(customer)
    iterators_read_all(customer)
    customer.delete()
    assert not Order.objects.filter(customer_id=customer.pk).exists()
    request_finished.send(sender=None)


def serve(thread, together):
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s", [thread])
        assert cursor.fetchone() == (thread,)
        together.wait(timeout=60)
    close_old_connections()
    for number in range(REQUESTS):
        request(thread, number)
    connection.close()


def main():
    call_command("migrate", verbosity=0)
    assert Customer.objects.get(name="first").credit == 1
    Customer.objects.all().delete()
    call_command("migrate", "shop", "0001", verbosity=0)
    call_command("migrate", verbosity=0)
    call_command("makemigrations", check=True, dry_run=True)
    Customer.objects.all().delete()
    connection.close()
    together = threading.Barrier(CLIENTS)
    with ThreadPoolExecutor(CLIENTS) as threads:
        for future in [threads.submit(serve, thread, together) for thread in range(CLIENTS)]:
            future.result(timeout=100)
    assert not Customer.objects.exists()
    print(f"clients={CLIENTS}")


main()
