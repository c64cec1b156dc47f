#!/usr/bin/env bash
# What counting statements costs: one pooler that counts and one that does not, before the same Postgres.
#
#   scripts/bench-stats.sh              both parts
#   scripts/bench-stats.sh throughput   transactions per second and the pooler's CPU for each of them, on against off, in
#                                       short rounds one after the other
#   scripts/bench-stats.sh flood        what a million texts, each of another shape, do to memory and to others' times
#
#   STATS_POOLER=PATH                   this binary instead of building one
#   STATS_BASE=PATH                     this one as the pooler that does not count, as `query_stats = false` is there
#   STATS_ROUNDS=15 STATS_SECONDS=3     pairs of rounds of each workload, and how long each round is
#   STATS_CLIENTS=64 STATS_WORKERS=0    clients; workers of each pooler, 0 is as the program chooses
#   FLOOD_TEXTS=1000000 FLOOD_SECONDS=60
#
# A quiet machine is needed, for CPU less than for the rest: which round of a pair is first changes from pair to pair,
# and the median of the pairs' ratios is printed, with the first and the third quartile. Ends with status 1 if the flood
# costs more than it may: p99 of others 1.2 times what the same number of equal texts costs, or 64 MB.
set -euo pipefail
# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/postgres.sh
source "$POOLER_ROOT/scripts/lib/postgres.sh"
# shellcheck source=scripts/lib/bench_postgres.sh
source "$POOLER_ROOT/scripts/lib/bench_postgres.sh"

ROUNDS=${STATS_ROUNDS:-15}
SECONDS_OF_ROUND=${STATS_SECONDS:-3}
CLIENTS=${STATS_CLIENTS:-64}
TEXTS=${FLOOD_TEXTS:-1000000}
FLOOD_SECONDS=${FLOOD_SECONDS:-60}
SERVERS=20
MOST_GROWTH_MB=64
MOST_P99=1.2
# Those who are looked at while the others flood.
PROBE_CLIENTS=4
PROBE_RATE=400
# Where the two poolers are found; `start` sets them.
PORT_on='' PORT_off='' ADMIN_on='' PID_on='' PID_off=''

find_pooler() {
    STATS_POOLER=${STATS_POOLER:-}
    need_pooler STATS_POOLER
    STATS_BASE=${STATS_BASE:-$STATS_POOLER}
    [[ -x $STATS_BASE ]] || die "STATS_BASE=$STATS_BASE is not a program"
}

# start NAME PROGRAM COUNTS: a pooler with or without statistics; sets PORT_NAME and ADMIN_NAME.
start() {
    local name=$1 port admin
    port=$(free_port)
    admin=$(free_port)
    (umask 077 && cat >"$FOLDER/$name.toml") <<TOML
listen = { listen_addr = "127.0.0.1", listen_port = $port }
admin = { admin_listen = "127.0.0.1:$admin", query_stats = $3 }
pool = { default_pool_size = $SERVERS }
log = { log_connections = false, log_disconnections = false }
general = { workers = ${STATS_WORKERS:-0} }
databases.bench = { host = "127.0.0.1", port = $PG_PORT }
users.bench = { password = "$PASSWORD" }
TOML
    start_pooler "$2" "$FOLDER/$name.toml" "$port" "$admin"
    printf -v "PORT_$name" %s "$port"
    printf -v "ADMIN_$name" %s "$admin"
    printf -v "PID_$name" %s "$POOLER_PID"
}

write_scripts() {
    printf 'SELECT 1;\n' >"$FOLDER/fixed.sql"
    printf '\\set n random(1, 1000000000)\nSELECT :n;\n' >"$FOLDER/varying.sql"
    printf '\\set n random(1, 1000000000)\nSELECT :n AS flood;\n' >"$FOLDER/equal.sql"
    printf '\\set n random(1, 1000000000)\nSELECT 1 AS flood_:n;\n' >"$FOLDER/distinct.sql"
}

# bench PORT ARGUMENTS...: pgbench through a pooler, as a process that a signal reaches.
bench() {
    local port=$1
    shift
    PGPASSWORD=$PASSWORD "$PG_BIN/pgbench" -h 127.0.0.1 -p "$port" -U bench -n "$@" bench 2>&1
}

# Processor time of a process, user and system, in hundredths of a second.
cpu() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }

# one_round PORT PID MODE SCRIPT: transactions per second, and CPU microseconds for each.
one_round() {
    local tps done_transactions before after
    before=$(cpu "$2")
    bench "$1" -c "$CLIENTS" -j 2 -T "$SECONDS_OF_ROUND" -M "$3" -f "$FOLDER/$4.sql" >"$FOLDER/round.log" || die "$(tail -n 3 "$FOLDER/round.log")"
    after=$(cpu "$2")
    tps=$(sed -n 's/^tps = \([0-9.]*\).*/\1/p' "$FOLDER/round.log")
    done_transactions=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' "$FOLDER/round.log")
    [[ ${tps%.*} -gt 0 ]] || die "a round of $SECONDS_OF_ROUND s is over before all clients are there: raise STATS_SECONDS"
    awk -v tps="$tps" -v ticks="$((after - before))" -v n="$done_transactions" 'BEGIN { print tps, ticks * 10000 / n }'
}

# Quartiles of the numbers on standard input.
quartiles() { sort -n | awk '{ v[NR] = $1 } END { printf "%.3f (%.3f .. %.3f)", v[int((NR + 1) / 2)], v[int((NR + 3) / 4)], v[int((3 * NR + 3) / 4)] }'; }

median() { sort -n | awk '{ v[NR] = $1 } END { printf "%.5g", v[int((NR + 1) / 2)] }'; }

compare_throughput() {
    local workload mode script round on off
    say "$CLIENTS clients, $ROUNDS pairs of $SECONDS_OF_ROUND s, counting against not counting: median, and quartiles"
    for workload in simple:fixed simple:varying prepared:varying; do
        mode=${workload%:*}
        script=${workload#*:}
        : >"$FOLDER/rounds"
        for ((round = 0; round < ROUNDS; round++)); do
            if ((round % 2)); then
                on=$(one_round "$PORT_on" "$PID_on" "$mode" "$script")
                off=$(one_round "$PORT_off" "$PID_off" "$mode" "$script")
            else
                off=$(one_round "$PORT_off" "$PID_off" "$mode" "$script")
                on=$(one_round "$PORT_on" "$PID_on" "$mode" "$script")
            fi
            printf '%s %s\n' "$on" "$off" >>"$FOLDER/rounds"
        done
        printf '%-17s tps %s  CPU %s  of %s tps, %s us without\n' "$workload" \
            "$(awk '{ print $1 / $3 }' "$FOLDER/rounds" | quartiles)" "$(awk '{ print $2 / $4 }' "$FOLDER/rounds" | quartiles)" \
            "$(awk '{ print $3 }' "$FOLDER/rounds" | median)" "$(awk '{ print $4 }' "$FOLDER/rounds" | median)"
    done
}

metric() { curl -fsS "http://127.0.0.1:$ADMIN_on/metrics" | awk -v name="$1" '$1 == name { print $2 }'; }

# flood SCRIPT: p99 in milliseconds of a few clients, while others send texts.
flood() {
    local rate=$((TEXTS / FLOOD_SECONDS)) pid
    bench "$PORT_on" -c 16 -j 2 -t $((TEXTS / 16)) -R "$rate" -M simple -f "$FOLDER/$1.sql" >"$FOLDER/flood.log" &
    pid=$!
    rm -f "$FOLDER"/probe.*
    bench "$PORT_on" -c "$PROBE_CLIENTS" -T "$FLOOD_SECONDS" -R "$PROBE_RATE" -M prepared -f "$FOLDER/varying.sql" \
        -l --log-prefix="$FOLDER/probe" >"$FOLDER/probe.log"
    wait "$pid" || die "the flood failed: $(tail -n 3 "$FOLDER/flood.log")"
    # The third column is the time since it should have begun, in microseconds.
    cat "$FOLDER"/probe.[0-9]* | awk '{ print $3 }' | sort -n | awk '{ v[NR] = $1 } END { printf "%.2f\n", v[int(NR * 0.99)] / 1000 }'
}

compare_flood() {
    local before equal distinct after growth ratio
    say "$TEXTS texts in $FLOOD_SECONDS s, and beside them $PROBE_RATE statements a second of $PROBE_CLIENTS others"
    equal=$(flood equal)
    before=$(metric process_resident_memory_bytes)
    distinct=$(flood distinct)
    after=$(metric process_resident_memory_bytes)
    growth=$(awk -v a="$after" -v b="$before" 'BEGIN { printf "%.1f", (a - b) / 1e6 }')
    ratio=$(awk -v a="$distinct" -v b="$equal" 'BEGIN { printf "%.2f", a / b }')
    printf 'p99 of the others: %s ms with texts of one shape, %s ms with as many shapes as texts: %s times (%s at most)\n' \
        "$equal" "$distinct" "$ratio" "$MOST_P99"
    printf 'memory: %s MB more (%s at most); %s shapes told apart, %s evicted, %s statements not counted, %s bytes by its own count\n' "$growth" \
        "$MOST_GROWTH_MB" "$(metric pooler_fingerprints_tracked)" "$(metric pooler_fingerprint_evictions_total)" \
        "$(metric pooler_events_dropped_total)" "$(metric pooler_query_stats_bytes)"
    awk -v growth="$growth" -v most="$MOST_GROWTH_MB" -v ratio="$ratio" -v p99="$MOST_P99" \
        'BEGIN { exit growth > most || ratio > p99 }' || die "the flood costs too much"
}

case ${1:-} in
'' | throughput | flood) PART=${1:-all} ;;
*)
    sed -n '2,17s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    [[ $1 == --help || $1 == -h ]] && exit 0
    exit 2
    ;;
esac
catch_exit
pg_need_bin
find_pooler
FOLDER=$(mktemp -d "${TMPDIR:-/tmp}/pooler-stats.XXXXXX")
on_exit rm -rf "$FOLDER"
PASSWORD=$(random_password)
pg_start "max_connections = $((2 * SERVERS + 20))" 'autovacuum = off'
pg_create bench "$PASSWORD" bench
write_scripts
start on "$STATS_POOLER" true
start off "$STATS_BASE" false
if [[ $PART != flood ]]; then compare_throughput; fi
if [[ $PART != throughput ]]; then compare_flood; fi
