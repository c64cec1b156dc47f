//! Statements that are measured.

/// The statement of `pgbench -S`, 55 bytes with the number.
pub(crate) const PGBENCH: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = 42371";

/// As Django writes a join, 495 bytes.
pub(crate) const DJANGO: &str = r#"SELECT "shop_order"."id", "shop_order"."created", "shop_order"."customer_id", "shop_order"."status", "shop_customer"."id", "shop_customer"."name", "shop_customer"."email", "shop_customer"."country" FROM "shop_order" INNER JOIN "shop_customer" ON ("shop_order"."customer_id" = "shop_customer"."id") WHERE ("shop_order"."status" IN ('new', 'paid', 'sent') AND "shop_customer"."country" = 'DE' AND "shop_order"."created" >= '2026-01-01T00:00:00+00:00'::timestamptz) ORDER BY "shop_order"."created" DESC LIMIT 21"#;
