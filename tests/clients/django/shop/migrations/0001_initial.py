"""The tables, in one transaction."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel(
            "Customer",
            [
                ("id", models.BigAutoField(verbose_name="ID", primary_key=True, auto_created=True, serialize=False)),
                ("name", models.CharField(max_length=100, unique=True)),
                ("credit", models.IntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            "Order",
            [
                ("id", models.BigAutoField(verbose_name="ID", primary_key=True, auto_created=True, serialize=False)),
                ("amount", models.DecimalField(max_digits=10, decimal_places=2)),
                ("placed", models.DateTimeField(auto_now_add=True)),
                (
                    "customer",
                    models.ForeignKey("shop.Customer", django.db.models.deletion.CASCADE, related_name="orders"),
                ),
            ],
        ),
    ]
