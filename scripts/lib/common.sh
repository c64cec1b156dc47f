# shellcheck shell=bash
# What every script here shares: messages, cleaning up, apt, free ports. Sourced, never run; knows nothing of Postgres.

# shellcheck disable=SC2034 # for whoever sources this
POOLER_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# Below the range Linux gives to outgoing connections (32768 and up), so that a port found free stays free.
FREE_PORT_FIRST=20000
FREE_PORT_COUNT=12000
FREE_PORT_TRIES=200

say() { printf '\033[1m%s\033[0m\n' "==> $*" >&2; }
warn() { printf '%s\n' "warning: $*" >&2; }
die() {
    printf '%s\n' "error: $*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# --- cleaning up -----------------------------------------------------------------------------------------------------

CLEANUP_STEPS=()

# Runs the given command when the script ends, however it ends; the last one given runs first.
on_exit() {
    CLEANUP_STEPS+=("$(printf '%q ' "$@")")
}

run_cleanup() {
    local status=$? step
    # A second Ctrl-C must not stop the cleaning half way.
    trap '' INT TERM HUP
    trap - EXIT
    for ((step = ${#CLEANUP_STEPS[@]} - 1; step >= 0; step--)); do
        eval "${CLEANUP_STEPS[step]}" || true
    done
    exit "$status"
}

# Signals become an ordinary exit, so that the one EXIT trap does all the work.
catch_exit() {
    trap run_cleanup EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
}

# Ends a process we started: asks, waits up to $2 seconds (default 5), then kills.
stop_process() {
    local pid=$1 seconds=${2:-5} tick
    kill -TERM "$pid" 2>/dev/null || return 0
    for ((tick = 0; tick < seconds * 20; tick++)); do
        process_runs "$pid" || return 0
        sleep 0.05
    done
    kill -KILL "$pid" 2>/dev/null || true
}

# A zombie that nobody has waited for yet answers to kill -0, but runs no more.
process_runs() {
    local state
    state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) || return 1
    [[ -n $state && $state != Z ]]
}

# --- ports -----------------------------------------------------------------------------------------------------------

port_is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() {
    local try port
    for ((try = 0; try < FREE_PORT_TRIES; try++)); do
        port=$((FREE_PORT_FIRST + (RANDOM * 32768 + RANDOM) % FREE_PORT_COUNT))
        port_is_taken "$port" || {
            printf '%s\n' "$port"
            return 0
        }
    done
    die "no free port between $FREE_PORT_FIRST and $((FREE_PORT_FIRST + FREE_PORT_COUNT))"
}

# Waits until something answers on 127.0.0.1:$1, for up to $2 seconds, or until process $3 is gone.
wait_for_port() {
    local port=$1 seconds=$2 pid=$3 tick
    for ((tick = 0; tick < seconds * 20; tick++)); do
        port_is_taken "$port" && return 0
        process_runs "$pid" || return 1
        sleep 0.05
    done
    return 1
}

# --- secrets and privileges ------------------------------------------------------------------------------------------

# 128 random bits in hex: needs no quoting in any file it is written to.
random_password() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

is_root() { [[ $(id -u) -eq 0 ]]; }

# Runs a command as root: directly, or through sudo where there is one.
as_root() {
    if is_root; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "this needs root and there is no sudo here; run as root: $*"
    fi
}

# Installs Debian packages; shows apt's own words only when it fails.
apt_install() {
    local log
    have apt-get || die "no apt-get here; please install by other means what these Debian packages hold: $*"
    say "installing $*"
    log=$(mktemp "${TMPDIR:-/tmp}/pooler-apt.XXXXXX")
    on_exit rm -f "$log"
    if ! as_root apt-get update >"$log" 2>&1 ||
        ! as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
            -o Dpkg::Options::=--force-confold "$@" >>"$log" 2>&1; then
        tail -n 30 "$log" >&2
        die "apt could not install: $*"
    fi
}
