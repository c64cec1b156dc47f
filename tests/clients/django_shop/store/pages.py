"""One page for each mistake, and below it the same page done right."""

import random

from django.db import transaction
from django.db.models import F
from django.http import JsonResponse
from django.views.decorators.csrf import csrf_exempt

from store import bank
from store.data import code
from store.models import Customer, Line, Order, Parcel, Product, TaxRate

ROWS = 40


def page(rows):
    return JsonResponse({"rows": list(rows)})


# N+1 on a foreign key: each order asks for its customer.


def orders(request):
    return page({"order": o.pk, "customer": o.customer.name} for o in Order.objects.order_by("-created")[:ROWS])


def orders_right(request):
    found = Order.objects.select_related("customer").order_by("-created")[:ROWS]
    return page({"order": o.pk, "customer": o.customer.name} for o in found)


# N+1 on a reverse relation: each customer asks for their orders.


def customers(request):
    return page({"customer": c.name, "orders": [o.status for o in c.orders.all()]} for c in Customer.objects.order_by("name")[:ROWS])


def customers_right(request):
    found = Customer.objects.prefetch_related("orders").order_by("name")[:ROWS]
    return page({"customer": c.name, "orders": [o.status for o in c.orders.all()]} for c in found)


# The same question again and again: every line looks up the one tax rate.


def cart(request):
    lines = Line.objects.select_related("product").order_by("pk")[:ROWS]
    return page(str(line.product.price * line.quantity * TaxRate.objects.get(country="DE").percent) for line in lines)


def cart_right(request):
    percent = TaxRate.objects.get(country="DE").percent
    lines = Line.objects.select_related("product").order_by("pk")[:ROWS]
    return page(str(line.product.price * line.quantity * percent) for line in lines)


# save() in a loop.


@csrf_exempt
def restock(request):
    products = Product.objects.order_by("pk")[:ROWS]
    for product in products:
        product.stock += 1
        product.save()
    return page(product.stock for product in products)


@csrf_exempt
def restock_right(request):
    products = Product.objects.order_by("-pk")[:ROWS]
    for product in products:
        product.stock += 1
    Product.objects.bulk_update(products, ["stock"])
    return page(product.stock for product in products)


# An index is missing.


def track(request):
    found = Parcel.objects.filter(tracking_code=f"T{code(random.randint(1, 1000))}")
    return page(parcel.city for parcel in found)


def track_right(request):
    found = Parcel.objects.filter(barcode=f"B{code(random.randint(1, 1000))}")
    return page(parcel.city for parcel in found)


# A transaction waits for somebody else's answer; so does everybody who wants that order, or a server.


@csrf_exempt
def checkout(request):
    with transaction.atomic():
        order = Order.objects.select_for_update().get(pk=random.randint(1, 1000))
        bank.charge(order.pk)
        order.status = "paid"
        order.save(update_fields=["status"])
    return page([order.pk])


@csrf_exempt
@transaction.non_atomic_requests
def checkout_right(request):
    order = Order.objects.get(pk=random.randint(1001, 2000))
    bank.charge(order.pk)
    Order.objects.filter(pk=order.pk).update(status="paid", created=F("created"))
    return page([order.pk])
