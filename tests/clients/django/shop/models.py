"""A small shop."""

from django.db import models


class Customer(models.Model):
    name = models.CharField(max_length=100, unique=True)
    credit = models.IntegerField(default=0)
    note = models.JSONField(default=dict)


class Order(models.Model):
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="orders")
    amount = models.DecimalField(max_digits=10, decimal_places=2)
    placed = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["customer", "placed"], name="order_by_customer")]
