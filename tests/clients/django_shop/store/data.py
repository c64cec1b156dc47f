"""Fills the shop: the same data every time. Postgres makes it, which takes seconds."""

from django.db import connection

CUSTOMERS = 2_000
PRODUCTS = 500
ORDERS = 6_000
LINES_PER_ORDER = 4

FILL = f"""
INSERT INTO store_customer (name, country)
    SELECT 'Customer ' || n, (ARRAY['DE', 'FR', 'PL', 'AT'])[n %% 4 + 1] FROM generate_series(1, {CUSTOMERS}) n;
INSERT INTO store_product (name, price, stock)
    SELECT 'Product ' || n, n %% 90 + 9.99, 100 FROM generate_series(1, {PRODUCTS}) n;
INSERT INTO store_order (customer_id, created, status)
    SELECT n * 37 %% {CUSTOMERS} + 1, '2026-01-01T00:00:00Z'::timestamptz + n * interval '7 minutes',
        (ARRAY['new', 'paid', 'sent'])[n %% 3 + 1] FROM generate_series(1, {ORDERS}) n;
INSERT INTO store_line (order_id, product_id, quantity)
    SELECT o, (o * 13 + l * 7) %% {PRODUCTS} + 1, l FROM generate_series(1, {ORDERS}) o, generate_series(1, {LINES_PER_ORDER}) l;
INSERT INTO store_taxrate (country, percent) VALUES ('DE', 19), ('FR', 20), ('PL', 23), ('AT', 20);
INSERT INTO store_parcel (order_number, tracking_code, barcode, city)
    SELECT n %% {ORDERS} + 1, 'T' || n::bigint * 7919 %% 100000007, 'B' || n::bigint * 7919 %% 100000007, 'City ' || n %% 400
    FROM generate_series(1, %s) n;
"""

TABLES = "store_customer store_product store_order store_line store_taxrate store_parcel"


def fill(parcels):
    with connection.cursor() as cursor:
        for statement in FILL.strip().rstrip(";").split(";\n"):
            cursor.execute(statement, [parcels] if "%s" in statement else [])
        for table in TABLES.split():
            cursor.execute(f"ANALYZE {table}")


def code(number):
    """What the parcel of that number has on its label, behind a letter."""
    return number * 7919 % 100_000_007
