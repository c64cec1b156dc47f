"""A small shop."""

from django.db import models


class Customer(models.Model):
    name = models.CharField(max_length=100)
    country = models.CharField(max_length=2)


class Product(models.Model):
    name = models.CharField(max_length=100)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    stock = models.IntegerField(default=0)


class Order(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE, related_name="orders")
    created = models.DateTimeField(db_index=True)
    status = models.CharField(max_length=10)


class Line(models.Model):
    order = models.ForeignKey(Order, models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, models.CASCADE)
    quantity = models.IntegerField()


class TaxRate(models.Model):
    country = models.CharField(max_length=2, unique=True)
    percent = models.DecimalField(max_digits=4, decimal_places=2)


class Parcel(models.Model):
    """Many of them, and customers ask by a code that has no index."""

    order_number = models.IntegerField()
    tracking_code = models.CharField(max_length=20)
    barcode = models.CharField(max_length=20, db_index=True)
    city = models.CharField(max_length=40)
