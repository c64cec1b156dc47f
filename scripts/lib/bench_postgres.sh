# shellcheck shell=bash
# The Postgres that the comparison and the soak measure on. Sourced after common.sh and postgres.sh.
#
# After measured_postgres: what pg_start sets, SCRATCH (a folder the server's user may read), and in the environment
# BENCH_PASSWORD and BENCH_SCRAM_SECRET of the role `bench`. The databases given hold the tables of workloads.py.

HARNESS=$POOLER_ROOT/benches/harness
POOLER_START_SECONDS=10
# Room for clients that hold a server each, and nothing that runs in the background while others are measured.
MEASURED_SETTINGS=(
    'max_connections = 300' 'shared_buffers = 256MB' 'autovacuum = off' 'jit = off' 'log_checkpoints = off'
    'checkpoint_timeout = 1h' 'max_wal_size = 4GB' 'bgwriter_lru_maxpages = 0'
)

measured_postgres() {
    local database tables
    have python3 || apt_install python3
    pg_start "${MEASURED_SETTINGS[@]}"
    SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/pooler-bench.XXXXXX")
    on_exit rm -rf "$SCRATCH"
    if is_root; then chown "$PG_USER:" "$SCRATCH"; fi
    BENCH_PASSWORD=$(random_password)
    pg_sql postgres "CREATE ROLE bench LOGIN PASSWORD '$BENCH_PASSWORD'"
    BENCH_SCRAM_SECRET=$(pg_sql postgres "SELECT rolpassword FROM pg_authid WHERE rolname = 'bench'")
    export BENCH_PASSWORD BENCH_SCRAM_SECRET
    tables=$(cd "$HARNESS" && python3 -c 'import workloads; print(workloads.setup_sql())')
    for database in "$@"; do
        pg_sql postgres "CREATE DATABASE $database OWNER bench"
        pg_sql "$database" "SET ROLE bench; SET client_min_messages = warning; $tables"
        pg_sql "$database" 'VACUUM ANALYZE'
    done
    pg_sql postgres 'CHECKPOINT'
}

# Sets $1 to the release binary, building it when the variable is empty.
need_pooler() {
    local program=${!1:-}
    if [[ -z $program ]]; then
        say "building the pooler"
        cargo build --release --locked --manifest-path "$POOLER_ROOT/Cargo.toml"
        program=${CARGO_TARGET_DIR:-$POOLER_ROOT/target}/release/pooler
    fi
    [[ -x $program ]] || die "$1=$program is not a program"
    printf -v "$1" '%s' "$(realpath "$program")"
}

# Starts a pooler and waits until it listens, at its ports and at its admin API's: start_pooler PROGRAM CONFIG PORT...
# It ends with this script; POOLER_PID is its process. What it says goes into a file beside its configuration.
start_pooler() {
    local program=$1 config=$2 log=${2%.toml}.log port
    shift 2
    "$program" --config "$config" >"$log" 2>&1 &
    POOLER_PID=$!
    on_exit stop_process "$POOLER_PID"
    for port in "$@"; do
        wait_for_port "$port" "$POOLER_START_SECONDS" "$POOLER_PID" && continue
        cat "$log" >&2
        die "the pooler did not start; its log is above"
    done
}

# Runs a program of the harness so that a signal to this script ends it first: harness FILE ARGUMENTS...
harness() {
    local child status=0 file=$1
    shift
    python3 "$HARNESS/$file" --folder "$SCRATCH" --postgres-port "$PG_PORT" --pgbench "$PG_BIN/pgbench" "$@" &
    child=$!
    on_exit stop_process "$child" 20
    wait "$child" || status=$?
    return "$status"
}
