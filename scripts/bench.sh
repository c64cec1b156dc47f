#!/usr/bin/env bash
# Compares the pooler with Postgres itself, HAProxy and PgBouncer and prints one table. See `make bench`.
#
#   BENCH_ROUNDS=3 BENCH_SECONDS=5      rounds of every workload, and how long each is
#   BENCH_ONLY=REGEX                    only the workloads whose name matches: select1-64, idle, ...
#   BENCH_TARGETS=pgbouncer,pooler      only these columns, of direct,haproxy,pgbouncer,pooler
#   BENCH_POOLER=PATH                   this binary instead of building one
#   BENCH_BASE=PATH                     one more column, `base`: another build to compare with
#   BENCH_PGBOUNCER=PATH BENCH_HAPROXY=PATH   these instead of the ones found or fetched
#
# A proxy's figure for CPU is the user and system time of all its processes. Both poolers have 20 servers, the same
# user, a SCRAM secret copied from pg_authid, and their logs off. Every sample is written to target/bench/samples.json.
set -euo pipefail
# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/postgres.sh
source "$POOLER_ROOT/scripts/lib/postgres.sh"
# shellcheck source=scripts/lib/peers.sh
source "$POOLER_ROOT/scripts/lib/peers.sh"

case ${1:-} in
-h | --help)
    sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
    ;;
esac

BENCH_FOLDER=$POOLER_ROOT/target/bench
# Clients of HAProxy and of Postgres itself each hold a server; the poolers hold 20 each.
BENCH_SETTINGS=(
    'max_connections = 300' 'shared_buffers = 256MB' 'autovacuum = off' 'jit = off' 'log_checkpoints = off'
    'checkpoint_timeout = 1h' 'max_wal_size = 4GB' 'bgwriter_lru_maxpages = 0'
)

warn_when_busy() {
    local load
    load=$(cut -d ' ' -f 1 /proc/loadavg)
    if awk -v load="$load" 'BEGIN { exit !(load > 0.5) }'; then
        warn "the machine is busy (load $load): the figures will be worth less"
    fi
}

# Prints NAME=PROGRAM for each column wanted.
choose_targets() {
    local name
    for name in ${BENCH_TARGETS//,/ }; do
        case $name in
        direct) printf 'direct=\n' ;;
        haproxy) printf 'haproxy=%s\n' "$HAPROXY" ;;
        pgbouncer) printf 'pgbouncer=%s\n' "$PGBOUNCER" ;;
        pooler) printf 'pooler=%s\n' "$BENCH_POOLER" ;;
        *) die "BENCH_TARGETS: $name is none of direct, haproxy, pgbouncer, pooler" ;;
        esac
    done
    if [[ -n ${BENCH_BASE:-} ]]; then printf 'base=%s\n' "$(realpath "$BENCH_BASE")"; fi
}

build_pooler() {
    if [[ ",$BENCH_TARGETS," != *,pooler,* ]]; then return 0; fi
    if [[ -z ${BENCH_POOLER:-} ]]; then
        say "building the pooler"
        cargo build --release --locked --manifest-path "$POOLER_ROOT/Cargo.toml"
        BENCH_POOLER=${CARGO_TARGET_DIR:-$POOLER_ROOT/target}/release/pooler
    fi
    [[ -x $BENCH_POOLER ]] || die "BENCH_POOLER=$BENCH_POOLER is not a program"
    BENCH_POOLER=$(realpath "$BENCH_POOLER")
}

run_comparison() {
    local targets target arguments=() child status=0
    targets=$(choose_targets)
    while read -r target; do arguments+=(--target "$target"); done <<<"$targets"
    python3 "$POOLER_ROOT/benches/compare" \
        --folder "$SCRATCH" --postgres-port "$PG_PORT" --user bench --database bench \
        --drop-to "$(if is_root; then printf %s "$PG_USER"; fi)" --pgbench "$PG_BIN/pgbench" \
        --rounds "${BENCH_ROUNDS:-3}" --seconds "${BENCH_SECONDS:-5}" --only "${BENCH_ONLY:-}" \
        --json "$BENCH_FOLDER/samples.json" "${arguments[@]}" &
    child=$!
    on_exit stop_process "$child" 20
    wait "$child" || status=$?
    return "$status"
}

catch_exit
have python3 || apt_install python3
BENCH_TARGETS=${BENCH_TARGETS:-direct,haproxy,pgbouncer,pooler}
build_pooler
peers_need
warn_when_busy
pg_start "${BENCH_SETTINGS[@]}"
SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/pooler-bench.XXXXXX")
on_exit rm -rf "$SCRATCH"
if is_root; then chown "$PG_USER:" "$SCRATCH"; fi
mkdir -p "$BENCH_FOLDER"
BENCH_PASSWORD=$(random_password)
pg_create bench "$BENCH_PASSWORD" bench
BENCH_SCRAM_SECRET=$(pg_sql bench "SELECT rolpassword FROM pg_authid WHERE rolname = 'bench'")
export BENCH_PASSWORD BENCH_SCRAM_SECRET
PGPASSWORD=$BENCH_PASSWORD "$PG_BIN/psql" -X -q -h 127.0.0.1 -p "$PG_PORT" -U bench -d bench \
    -c "$(cd "$POOLER_ROOT/benches/compare" && python3 -c 'import workloads; print(workloads.setup_sql())')" 2>/dev/null
pg_sql bench 'VACUUM ANALYZE'
pg_sql bench 'CHECKPOINT'
say "Postgres $(pg_sql bench 'SHOW server_version'), $("$PGBOUNCER" --version | head -n 1), $("$HAPROXY" -v | head -n 1 | cut -d ' ' -f 1-3), $(nproc) cores"
run_comparison
