"""An index built without a transaction around it."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("shop", "0002_note_and_data")]
    operations = [
        AddIndexConcurrently("Order", models.Index(fields=["customer", "placed"], name="order_by_customer")),
    ]
