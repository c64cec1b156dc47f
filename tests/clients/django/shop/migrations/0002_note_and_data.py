"""A new column, and rows made by Python in the same transaction."""

from django.db import migrations, models


def first_customer(apps, _schema_editor):
    apps.get_model("shop", "Customer").objects.create(name="first", credit=1)


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [
        migrations.AddField("Customer", "note", models.JSONField(default=dict)),
        migrations.RunPython(first_customer, migrations.RunPython.noop),
    ]
