#!/usr/bin/env bash
# Shows the pooler at work on a throwaway Postgres: 200 clients on 20 server connections, then a Django shop with a
# mistake on each of its pages, and what the pooler has to say of it.
#
#   scripts/demo.sh          keeps serving until Ctrl-C
#   scripts/demo.sh --once   ends by itself
#
#   DEMO_PORT=6432 DEMO_ADMIN_PORT=6433   where clients and curl find it
#   DEMO_SECONDS=10                       how long the 200 clients work
#   DEMO_POOLER=PATH                      this binary instead of building one
#   DEMO_SHOP=no                          without the Django shop, which needs Python and, the first time, PyPI
#
# Leaves nothing behind: the cluster, the configuration and the log live in temporary folders.
set -euo pipefail
# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/postgres.sh
source "$POOLER_ROOT/scripts/lib/postgres.sh"
# shellcheck source=scripts/lib/install.sh
source "$POOLER_ROOT/scripts/lib/install.sh"

PORT=${DEMO_PORT:-6432}
ADMIN_PORT=${DEMO_ADMIN_PORT:-6433}
SECONDS_OF_LOAD=${DEMO_SECONDS:-10}
CLIENTS=200
SERVERS=20
# Enough rows that clients seldom meet on one.
SCALE=10
# After the show: a trickle, so that the dashboard moves.
BACKGROUND_CLIENTS=10
BACKGROUND_RATE=100
START_SECONDS=10
# The shop's pages are asked for so often; its biggest table has so many rows.
SHOP_ROUNDS=10
SHOP_PARCELS=200000
SHOP=$POOLER_ROOT/tests/clients/django_shop
MODE=serve

read_arguments() {
    case ${1:-} in
    '') ;;
    --once) MODE=once ;;
    *)
        sed -n '2,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        [[ $1 == --help || $1 == -h ]] && exit 0
        exit 2
        ;;
    esac
}

need_free_port() {
    port_is_taken "$1" || return 0
    die "something already listens on 127.0.0.1:$1; stop it, or choose another port: $2=$((7000 + RANDOM % 1000)) make demo"
}

build_pooler() {
    DEMO_POOLER=${DEMO_POOLER:-}
    if [[ -z $DEMO_POOLER ]]; then
        have cargo || die "cargo is not here; https://rustup.rs installs it"
        # Rust links with a C compiler's linker, and some crates are C.
        have cc || apt_install gcc libc6-dev
        say "building the pooler (release; the first time takes minutes)"
        cargo build --release --locked --manifest-path "$POOLER_ROOT/Cargo.toml"
        DEMO_POOLER=${CARGO_TARGET_DIR:-$POOLER_ROOT/target}/release/pooler
    fi
    [[ -x $DEMO_POOLER ]] || die "DEMO_POOLER=$DEMO_POOLER is not a program"
}

# Runs a command so that a signal to this script ends it at once instead of after the command.
attended() {
    local child status=0
    "$@" &
    child=$!
    ATTENDED=$child
    wait "$child" || status=$?
    ATTENDED=''
    return "$status"
}

stop_attended() { if [[ -n ${ATTENDED:-} ]]; then stop_process "$ATTENDED" 1; fi; }

write_config() {
    (umask 077 && cat >"$FOLDER/pooler.toml") <<TOML
[listen]
listen_addr = "127.0.0.1"
listen_port = $PORT

[admin]
admin_listen = "127.0.0.1:$ADMIN_PORT"

[pool]
default_pool_size = $SERVERS

[auth]
auth_type = "scram-sha-256"

[log]
log_connections = false
log_disconnections = false

[databases.demo]
host = "127.0.0.1"
port = $PG_PORT

[users.demo]
password = "$PASSWORD"
TOML
}

start_pooler() {
    local pid
    "$DEMO_POOLER" --config "$FOLDER/pooler.toml" >"$FOLDER/pooler.log" 2>&1 &
    pid=$!
    POOLER_PID=$pid
    on_exit stop_process "$pid"
    wait_for_port "$PORT" "$START_SECONDS" "$pid" && wait_for_port "$ADMIN_PORT" "$START_SECONDS" "$pid" && return 0
    cat "$FOLDER/pooler.log" >&2
    die "the pooler did not start; its log is above"
}

# Transactions of one statement: in prepared mode pgbench waits inside PREPARE with all its clients, so those that hold
# a server in the middle of a transaction would never give it back to the one that waits.
write_update() {
    cat >"$FOLDER/update.sql" <<SQL
\set account random(1, 100000 * :scale)
\set delta random(-5000, 5000)
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :account;
SQL
}

# pgbench as the demo's user, through the pooler; the password travels in the environment, not in `ps`.
bench() {
    PGPASSWORD=$PASSWORD exec "$PG_BIN/pgbench" -h 127.0.0.1 -p "$PORT" -U demo "$@" demo
}

show_load() {
    say "making tables through the pooler"
    attended bench -i -q -s "$SCALE" >"$FOLDER/init.log" 2>&1 || fail_with "$FOLDER/init.log" "pgbench could not make its tables"
    say "$CLIENTS clients on $SERVERS server connections for $SECONDS_OF_LOAD s (prepared statements; 9 reads to 1 write)"
    attended bench -n -M prepared -c "$CLIENTS" -j 2 -T "$SECONDS_OF_LOAD" -P 1 \
        -b select-only@9 -f "$FOLDER/update.sql@1" >"$FOLDER/load.log" || fail_with "$FOLDER/pooler.log" "pgbench failed; the pooler's log is above"
    grep -E '^(number of clients|number of transactions actually|number of failed|latency average|tps)' "$FOLDER/load.log"
    printf 'connections that Postgres saw from the pooler: %s\n' \
        "$(pg_sql postgres "SELECT count(*) FROM pg_stat_activity WHERE usename = 'demo'")"
}

fail_with() {
    tail -n 40 "$1" >&2
    die "$2"
}

# Sets SHOP_PYTHON to a Python that has what the shop needs, or to nothing: the demo goes on without the shop then.
prepare_shop() {
    SHOP_PYTHON=''
    [[ ${DEMO_SHOP:-yes} != no ]] || return 0
    if ! python_makes_environments && have apt-get; then (apt_install python3 python3-venv) || true; fi
    if ! python_makes_environments; then
        say "without the Django shop: it needs python3 with venv and pip"
    elif (unless_done "$POOLER_ROOT/target/shop" "$SHOP/requirements.txt" \
        python_environment "$POOLER_ROOT/target/shop" "$SHOP/requirements.txt"); then
        SHOP_PYTHON=$POOLER_ROOT/target/shop/bin/python
    else
        say "without the Django shop: its packages could not be installed"
    fi
}

# The shop as the demo's user, through the pooler.
shop() {
    cd "$SHOP" && PGHOST=127.0.0.1 PGPORT=$PORT PGDATABASE=demo PGUSER=demo PGPASSWORD=$PASSWORD \
        CONN_MAX_AGE=600 PYTHONDONTWRITEBYTECODE=1 exec "$SHOP_PYTHON" run.py --parcels="$SHOP_PARCELS" "$@"
}

show_shop() {
    [[ -n $SHOP_PYTHON ]] || return 0
    say "a Django shop with a mistake on each page, and its visitors (from here on /queries counts anew)"
    attended shop --rounds=0 >"$FOLDER/shop.log" 2>&1 || fail_with "$FOLDER/shop.log" "the shop could not make its tables"
    curl -fsS --max-time 5 -H 'Content-Type: application/json' -d '{}' -o /dev/null "http://127.0.0.1:$ADMIN_PORT/queries/reset" ||
        die "the admin API did not answer"
    attended shop --keep --rounds="$SHOP_ROUNDS" >"$FOLDER/shop.log" 2>&1 || fail_with "$FOLDER/shop.log" "the shop failed; its words are above"
}

# show PATH: what the admin API answers.
show() {
    say "curl http://127.0.0.1:$ADMIN_PORT$1"
    curl -fsS --max-time 5 "http://127.0.0.1:$ADMIN_PORT$1" || die "the admin API did not answer"
    echo
}

show_findings() {
    show /
    [[ -n $SHOP_PYTHON ]] || return 0
    show '/queries?limit=8'
    show /nplusone
    show /idle
}

serve() {
    local background
    if [[ -n $SHOP_PYTHON ]]; then
        shop --keep --forever >"$FOLDER/shop.log" 2>&1 &
        on_exit stop_process "$!" 1
    fi
    bench -n -M prepared -c "$BACKGROUND_CLIENTS" -R "$BACKGROUND_RATE" -T 1000000 \
        -b select-only@9 -f "$FOLDER/update.sql@1" >"$FOLDER/background.log" 2>&1 &
    background=$!
    on_exit stop_process "$background" 1
    # From here on that is the ordinary end.
    trap 'say "stopped; nothing is left behind"; exit 0' INT TERM
    say "serving until Ctrl-C; in another terminal:"
    printf '%s\n' \
        "    PGPASSWORD=$PASSWORD $PG_BIN/psql -h 127.0.0.1 -p $PORT -U demo demo" \
        "    PGPASSWORD=$PASSWORD $PG_BIN/pgbench -h 127.0.0.1 -p $PORT -U demo -n -S -M prepared -c 50 -T 10 demo" \
        "    curl http://127.0.0.1:$ADMIN_PORT/" \
        "    curl http://127.0.0.1:$ADMIN_PORT/queries" \
        "    curl http://127.0.0.1:$ADMIN_PORT/nplusone" \
        "    curl http://127.0.0.1:$ADMIN_PORT/metrics" \
        "    tail -f $FOLDER/pooler.log"
    wait "$POOLER_PID" || true
    cat "$FOLDER/pooler.log" >&2
    die "the pooler ended; its log is above"
}

read_arguments "$@"
catch_exit
need_free_port "$PORT" DEMO_PORT
need_free_port "$ADMIN_PORT" DEMO_ADMIN_PORT
have curl || apt_install curl
pg_need_bin
build_pooler
prepare_shop
FOLDER=$(mktemp -d "${TMPDIR:-/tmp}/pooler-demo.XXXXXX")
on_exit rm -rf "$FOLDER"
PASSWORD=$(random_password)
say "starting a throwaway Postgres"
pg_start "max_connections = $((SERVERS + 20))" 'autovacuum = off'
pg_create demo "$PASSWORD" demo
write_config
write_update
say "starting the pooler on 127.0.0.1:$PORT, admin API on 127.0.0.1:$ADMIN_PORT"
start_pooler
on_exit stop_attended
show_load
show_shop
show_findings
if [[ $MODE == serve ]]; then serve; fi
say "done; nothing is left behind"
