# Every target is one line of work here and the rest in scripts/; `make` alone lists them.

# Recipes stop at the first fault, also inside a pipe.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# `test` goes from what is quick to what is slow.
.NOTPARALLEL:
.PHONY: help build demo test test-deps lint lint-scripts lint-packaging deny unit integration clients test-pg18 fuzz soak bench bench-floods bench-gate bench-stats bench-pages

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '  %-16s %s\n' "$$name" "$$text"; done

build: ## the release binary: target/release/pooler
	cargo build --release --locked

demo: ## see it work: throwaway Postgres, 200 clients, the dashboard (ARGS=--once ends by itself)
	@scripts/demo.sh $(ARGS)

test: test-deps lint lint-scripts lint-packaging deny unit integration clients bench-gate ## what a change must pass: lint, packaging, unit, integration, clients, fingerprints' time

test-deps: ## install what the tests need and is missing
	@scripts/install-test-deps.sh

lint: ## rustfmt, clippy, the house rules, the docs
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo test --locked --quiet --test tidy
	RUSTDOCFLAGS=-Dwarnings cargo doc --locked --quiet --no-deps

lint-scripts: ## shellcheck, ruff
	@scripts/lint.sh scripts

lint-packaging: ## systemd unit, Dockerfile, compose file
	@scripts/lint.sh packaging

deny: test-deps ## licences, sources, bans and advisories of the dependencies
	@scripts/deny.sh

unit: ## tests inside the crate, and those without a Postgres
	cargo test --locked --lib --bins --test config_file
	cargo test --locked --doc

integration: ## the real binary against a real Postgres (PG_BIN=folder chooses which)
	cargo test --locked --test integration -- $(ARGS)

clients: ## psql, pgbench, psycopg, asyncpg, Django, node-postgres, pgjdbc, sqlx, tokio-postgres through the pooler
	cargo test --locked --test clients -- $(ARGS)

test-pg18: ## the integration tests against PostgreSQL 18
	@scripts/test-pg18.sh $(ARGS)

fuzz: ## hostile bytes for everything that reads them, a minute each (FUZZ_SECONDS=60, ARGS=TARGET)
	@scripts/fuzz.sh $(ARGS)

soak: ## mixed load with faults, leak checks at the end, 10 minutes each (SOAK_SECONDS=600)
	@scripts/soak.sh

bench: ## one table: direct Postgres, HAProxy, PgBouncer, pooler (scripts/bench.sh --help)
	@scripts/bench.sh

bench-floods: ## what strangers in numbers cost a client that is logged in
	@scripts/bench-floods.sh

bench-gate: ## whether fingerprints are as quick as they must be (release build)
	cargo bench --locked --bench gate

bench-stats: ## what counting statements costs; a million shapes of texts in a minute (ARGS=throughput or flood)
	@scripts/bench-stats.sh $(ARGS)

bench-pages: ## how long each page of the HTTP API takes with 5,000 statements and 10,000 clients
	@scripts/bench-pages.sh
