# shellcheck shell=bash
# Finds the proxies that the comparison runs beside the pooler. Sourced after common.sh; starts nothing.
#
# Nothing is installed into the system: packages are downloaded by apt with a private state, unpacked under target/,
# and started through their own loader, so any Debian or Ubuntu can run them and no service is ever enabled.

# Debian 13 is the oldest release whose PgBouncer (1.24) knows prepared statements in transaction mode (1.21 and up).
PEERS_SUITE=trixie
PEERS_MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
PGBOUNCER_OLDEST=1.21
PEERS_DIR=$POOLER_ROOT/target/bench/peers
PEERS_KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# Sets PGBOUNCER and HAPROXY to programs that run here.
peers_need() {
    PGBOUNCER=${BENCH_PGBOUNCER:-}
    HAPROXY=${BENCH_HAPROXY:-}
    if [[ -z $PGBOUNCER ]] && pgbouncer_is_new_enough; then PGBOUNCER=$(peers_which pgbouncer); fi
    if [[ -z $HAPROXY ]] && peers_which haproxy >/dev/null; then HAPROXY=$(peers_which haproxy); fi
    if [[ -z $PGBOUNCER || -z $HAPROXY ]]; then
        [[ -x $PEERS_DIR/bin/pgbouncer && -x $PEERS_DIR/bin/haproxy ]] || peers_unpack
        PGBOUNCER=${PGBOUNCER:-$PEERS_DIR/bin/pgbouncer}
        HAPROXY=${HAPROXY:-$PEERS_DIR/bin/haproxy}
    fi
    "$PGBOUNCER" --version >/dev/null || die "$PGBOUNCER does not run here"
    "$HAPROXY" -v >/dev/null || die "$HAPROXY does not run here"
}

# Debian keeps daemons in /usr/sbin, which is not on every user's PATH.
peers_which() { PATH=$PATH:/usr/sbin:/usr/local/sbin command -v "$1"; }

pgbouncer_is_new_enough() {
    local program version
    program=$(peers_which pgbouncer) || return 1
    version=$("$program" --version | sed -n 's/^PgBouncer \([0-9.]*\).*/\1/p')
    [[ $(printf '%s\n' "$PGBOUNCER_OLDEST" "$version" | sort -V | head -n 1) == "$PGBOUNCER_OLDEST" ]]
}

peers_unpack() {
    local scratch packages package
    if ! have apt-get || ! have dpkg-deb; then
        die "no apt-get and dpkg-deb here; set BENCH_PGBOUNCER (1.21 or newer) and BENCH_HAPROXY to programs"
    fi
    [[ -r $PEERS_KEYRING ]] || apt_install debian-archive-keyring
    say "fetching PgBouncer and HAProxy of Debian $PEERS_SUITE into ${PEERS_DIR#"$POOLER_ROOT"/}"
    scratch=$(mktemp -d "${TMPDIR:-/tmp}/pooler-peers.XXXXXX")
    on_exit rm -rf "$scratch"
    peers_apt_state "$scratch"
    export APT_CONFIG=$scratch/apt.conf
    apt-get update -qq
    # With an empty dpkg status the answer is every package they need; only programs and libraries are of use here.
    packages=$(apt-get install --print-uris -qq pgbouncer haproxy 2>/dev/null |
        sed -n "s/^'[^']*' \([^_]*\)_.*/\1/p" | grep -E '^(pgbouncer|haproxy|zlib1g|lib.*)$' | grep -v perl) ||
        die "Debian $PEERS_SUITE could not be read from $PEERS_MIRROR"
    # shellcheck disable=SC2086 # a list of names
    (cd "$scratch" && apt-get download -qq $packages)
    unset APT_CONFIG
    rm -rf "$PEERS_DIR"
    mkdir -p "$PEERS_DIR/root" "$PEERS_DIR/bin"
    for package in "$scratch"/*.deb; do
        dpkg-deb -x "$package" "$PEERS_DIR/root"
    done
    peers_wrap pgbouncer
    peers_wrap haproxy
    rm -rf "$scratch"
}

# An apt that reads and writes only below $1 and sees Debian $PEERS_SUITE and nothing else.
peers_apt_state() {
    mkdir -p "$1/state/lists/partial" "$1/cache/archives/partial" "$1/preferences.d"
    : >"$1/status"
    printf 'deb [signed-by=%s] %s %s main\n' "$PEERS_KEYRING" "$PEERS_MIRROR" "$PEERS_SUITE" >"$1/sources.list"
    cat >"$1/apt.conf" <<CONF
Dir::Etc::sourcelist "$1/sources.list";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "$1/preferences";
Dir::Etc::preferencesparts "$1/preferences.d";
Dir::State "$1/state";
Dir::State::status "$1/status";
Dir::Cache "$1/cache";
APT::Sandbox::User "";
APT::Install-Recommends "false";
CONF
}

# Writes bin/$1: the unpacked program under the loader and libraries it came with. `exec` keeps the process id.
peers_wrap() {
    local root=$PEERS_DIR/root loader libraries
    loader=$(find "$root/usr/lib" -name 'ld-linux-*.so.*' | head -n 1)
    [[ -n $loader ]] || die "no loader among the libraries of Debian $PEERS_SUITE"
    libraries=$(dirname "$loader")
    cat >"$PEERS_DIR/bin/$1" <<WRAPPER
#!/bin/sh
exec '$loader' --library-path '$libraries:$libraries/systemd' '$root/usr/sbin/$1' "\$@"
WRAPPER
    chmod +x "$PEERS_DIR/bin/$1"
}
