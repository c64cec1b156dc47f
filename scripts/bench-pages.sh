#!/usr/bin/env bash
# How long each page of the HTTP API takes with 5,000 statements and 10,000 clients, and what that costs a query.
#
#   scripts/bench-pages.sh              ends with status 1 if the median of a page is over 50 ms
#
#   PAGES_POOLER=PATH                   this binary instead of building one
#   PAGES_CLIENTS=10000 PAGES_STATEMENTS=5000
set -euo pipefail
# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/postgres.sh
source "$POOLER_ROOT/scripts/lib/postgres.sh"
# shellcheck source=scripts/lib/bench_postgres.sh
source "$POOLER_ROOT/scripts/lib/bench_postgres.sh"

CLIENTS=${PAGES_CLIENTS:-10000}
STATEMENTS=${PAGES_STATEMENTS:-5000}

catch_exit
PAGES_POOLER=${PAGES_POOLER:-}
need_pooler PAGES_POOLER
# Each end of a connection is a file.
ulimit -n $((CLIENTS + 1000)) || die "no more than $(ulimit -Hn) files may be open: PAGES_CLIENTS=$(($(ulimit -Hn) - 1000))"
have python3 || die "python3 is needed"
pg_need_bin
FOLDER=$(mktemp -d "${TMPDIR:-/tmp}/pooler-pages.XXXXXX")
on_exit rm -rf "$FOLDER"
PASSWORD=$(random_password)
pg_start 'max_connections = 60' 'autovacuum = off'
pg_create bench "$PASSWORD" bench
port=$(free_port)
admin=$(free_port)
(umask 077 && cat >"$FOLDER/pooler.toml") <<TOML
listen = { listen_addr = "127.0.0.1", listen_port = $port }
limits = { max_client_conn = $((CLIENTS + 100)), max_logins_per_address = $((CLIENTS + 100)) }
admin = { admin_listen = "127.0.0.1:$admin" }
auth = { auth_type = "trust" }
log = { log_connections = false, log_disconnections = false }
databases.bench = { host = "127.0.0.1", port = $PG_PORT }
users.bench = { password = "$PASSWORD" }
TOML
start_pooler "$PAGES_POOLER" "$FOLDER/pooler.toml" "$port" "$admin"
say "$CLIENTS clients connect, $STATEMENTS statements run: about a minute, as more at once would count as a flood"
python3 "$POOLER_ROOT/benches/harness/pages.py" --port "$port" --admin "http://127.0.0.1:$admin" --user bench --database bench \
    --clients "$CLIENTS" --statements "$STATEMENTS"
