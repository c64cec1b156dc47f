#!/usr/bin/env bash
# Compares the pooler with Postgres itself, HAProxy and PgBouncer and prints one table. See `make bench`.
#
#   BENCH_ROUNDS=3 BENCH_SECONDS=5      rounds of every workload, and how long each is
#   BENCH_ONLY=REGEX                    only the workloads whose name matches: select1-64, idle, ...
#   BENCH_TARGETS=pgbouncer,pooler      only these columns, of direct,haproxy,pgbouncer,pooler
#   BENCH_POOLER=PATH                   this binary instead of building one
#   BENCH_TLS_LOAD=PATH                 this load of TLS clients instead of building benches/tls_load.rs
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
# shellcheck source=scripts/lib/bench_postgres.sh
source "$POOLER_ROOT/scripts/lib/bench_postgres.sh"
# shellcheck source=scripts/lib/peers.sh
source "$POOLER_ROOT/scripts/lib/peers.sh"

case ${1:-} in
-h | --help)
    sed -n '2,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
    ;;
esac

BENCH_FOLDER=$POOLER_ROOT/target/bench

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

# Sets BENCH_TLS_LOAD, building it when the variable is empty.
need_tls_load() {
    [[ -n ${BENCH_TLS_LOAD:-} ]] && return 0
    say "building the TLS clients"
    BENCH_TLS_LOAD=$(cargo build --release --locked --bench tls_load --message-format json --manifest-path "$POOLER_ROOT/Cargo.toml" |
        sed -n 's|.*"executable":"\([^"]*/tls_load-[^"]*\)".*|\1|p')
    [[ -x $BENCH_TLS_LOAD ]] || die "cargo does not say where the TLS clients are: '$BENCH_TLS_LOAD'"
}

run_comparison() {
    local targets target arguments=()
    targets=$(choose_targets)
    while read -r target; do arguments+=(--target "$target"); done <<<"$targets"
    mkdir -p "$BENCH_FOLDER"
    harness compare.py --user bench --database bench --drop-to "$(if is_root; then printf %s "$PG_USER"; fi)" \
        --tls-load "$BENCH_TLS_LOAD" --rounds "${BENCH_ROUNDS:-3}" --seconds "${BENCH_SECONDS:-5}" --only "${BENCH_ONLY:-}" \
        --json "$BENCH_FOLDER/samples.json" "${arguments[@]}"
}

catch_exit
BENCH_TARGETS=${BENCH_TARGETS:-direct,haproxy,pgbouncer,pooler}
BENCH_POOLER=${BENCH_POOLER:-}
if [[ ,$BENCH_TARGETS, == *,pooler,* ]]; then need_pooler BENCH_POOLER; fi
need_tls_load
peers_need
warn_when_busy
measured_postgres bench
say "Postgres $(pg_sql bench 'SHOW server_version'), $("$PGBOUNCER" --version | head -n 1), $("$HAPROXY" -v | head -n 1 | cut -d ' ' -f 1-3), $(nproc) cores"
run_comparison
