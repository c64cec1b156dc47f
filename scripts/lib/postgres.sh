# shellcheck shell=bash
# Finds PostgreSQL and runs a throwaway cluster. Sourced after common.sh; knows nothing of poolers.
#
# After pg_start: PG_BIN (folder of the programs), PG_DIR (temporary folder), PG_PORT (127.0.0.1 only),
# PG_PASSWORD_FILE (password of the superuser `postgres`, SCRAM), and pg_sql to talk to it.

PG_START_TRIES=5
PG_START_SECONDS=60
CREATECLUSTER_CONF=/etc/postgresql-common/createcluster.conf

# Sets PG_BIN: the variable itself, then pg_config, then the newest of the folders Debian uses.
pg_find_bin() {
    local candidate
    if [[ -n ${PG_BIN:-} ]]; then
        pg_bin_is_complete "$PG_BIN" || die "PG_BIN=$PG_BIN holds no initdb, pg_ctl and postgres"
        return 0
    fi
    if have pg_config && candidate=$(pg_config --bindir) && pg_bin_is_complete "$candidate"; then
        PG_BIN=$candidate
        return 0
    fi
    while read -r candidate; do
        if pg_bin_is_complete "$candidate"; then
            PG_BIN=$candidate
            return 0
        fi
    done < <(printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/local/pgsql/bin | sort -rV)
    return 1
}

# A server and the clients the scripts use, from one place.
pg_bin_is_complete() {
    local program
    for program in initdb pg_ctl postgres psql pgbench; do
        [[ -x $1/$program ]] || return 1
    done
}

# Sets PG_BIN, installing PostgreSQL where apt can.
pg_need_bin() {
    pg_find_bin && return 0
    have apt-get || die "PostgreSQL is not here. Install its server and pgbench, or set PG_BIN to the folder of initdb and postgres."
    # Debian makes and starts a cluster on 5432 as it installs the server; nobody asked for that one.
    if [[ ! -e $CREATECLUSTER_CONF ]]; then
        as_root mkdir -p "$(dirname "$CREATECLUSTER_CONF")"
        printf 'create_main_cluster = false\n' | as_root tee "$CREATECLUSTER_CONF" >/dev/null
    fi
    # `postgresql-contrib` holds pgbench in old releases and nothing in new ones; both names always exist.
    apt_install postgresql postgresql-contrib
    pg_find_bin || die "PostgreSQL was installed, but its programs are not where they are looked for; set PG_BIN"
}

# Sets PG_USER: who runs the server. Postgres refuses root, so root lends the cluster to another user.
pg_choose_user() {
    if ! is_root; then
        PG_USER=$(id -un)
    elif getent passwd postgres >/dev/null; then
        PG_USER=postgres
    else
        PG_USER=nobody
    fi
}

# Runs a command as PG_USER, in a folder that user can read.
pg_as() {
    if ! is_root; then
        (cd "$PG_DIR" && "$@")
    elif have setpriv; then
        (cd "$PG_DIR" && HOME=$PG_DIR setpriv --reuid="$PG_USER" --regid="$(id -g "$PG_USER")" --clear-groups "$@")
    else
        (cd "$PG_DIR" && HOME=$PG_DIR runuser -u "$PG_USER" -- "$@")
    fi
}

# Starts the cluster with the settings given (one at least: `max_connections = 300`). It is stopped and removed on exit.
pg_start() {
    local try
    pg_need_bin
    pg_choose_user
    PG_DIR=$(mktemp -d "${TMPDIR:-/tmp}/pooler-cluster.XXXXXX")
    on_exit pg_remove
    PG_PASSWORD_FILE=$PG_DIR/password
    PG_LOG=$PG_DIR/server.log
    (umask 077 && random_password >"$PG_PASSWORD_FILE")
    if is_root; then chown -R "$PG_USER:" "$PG_DIR"; fi
    pg_as test -x "$PG_BIN/postgres" || die "$PG_BIN cannot be reached by the user $PG_USER, who is to run Postgres"
    if ! pg_as "$PG_BIN/initdb" -D "$PG_DIR/data" -U postgres -A scram-sha-256 --pwfile="$PG_PASSWORD_FILE" \
        -E UTF8 --locale=C --no-sync >"$PG_DIR/initdb.log" 2>&1; then
        cat "$PG_DIR/initdb.log" >&2
        die "initdb failed"
    fi
    pg_write_settings "$@"
    for ((try = 0; try < PG_START_TRIES; try++)); do
        PG_PORT=$(free_port)
        if pg_as "$PG_BIN/pg_ctl" -D "$PG_DIR/data" -l "$PG_LOG" -w -t "$PG_START_SECONDS" -s \
            -o "-p $PG_PORT" start >/dev/null 2>&1; then
            return 0
        fi
        # Somebody took the port between the look and the bind: look again. Anything else is final.
        grep -q 'Address already in use' "$PG_LOG" || break
    done
    cat "$PG_LOG" >&2
    die "Postgres did not start; its log is above"
}

# A cluster that lives for minutes needs no durability; the caller's settings come last, so they win.
pg_write_settings() {
    {
        printf '%s\n' "listen_addresses = '127.0.0.1'" "unix_socket_directories = ''" \
            'fsync = off' 'full_page_writes = off' 'synchronous_commit = off'
        printf '%s\n' "$@"
    } >>"$PG_DIR/data/postgresql.conf"
}

pg_remove() {
    if [[ -f $PG_DIR/data/postmaster.pid ]]; then
        pg_as "$PG_BIN/pg_ctl" -D "$PG_DIR/data" -m immediate -w -s stop >/dev/null 2>&1 || true
    fi
    rm -rf "$PG_DIR"
}

# Runs one SQL text as the superuser, straight at Postgres: pg_sql DATABASE SQL
pg_sql() {
    PGPASSWORD=$(<"$PG_PASSWORD_FILE") "$PG_BIN/psql" -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$PG_PORT" \
        -U postgres -d "$1" -At -c "$2"
}

# Makes a login role (SCRAM) and a database that it owns: pg_create NAME PASSWORD DATABASE
pg_create() {
    pg_sql postgres "CREATE ROLE \"$1\" LOGIN PASSWORD '$2'"
    pg_sql postgres "CREATE DATABASE \"$3\" OWNER \"$1\""
}
