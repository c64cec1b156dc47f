#!/usr/bin/env bash
# Installs what the tests need and is missing: Debian packages through apt, everything else below target/.
# Quiet, quick and without network when all is there; `make test-deps` runs it.
#
#   target/tools    Python: the linters of scripts/requirements.txt
#   target/venv     Python: the drivers of tests/clients/requirements.txt
#   target/sqlx     the Rust client that is a crate of its own, built here so that no test waits for a compiler
#   node_modules    beside each package.json in tests/clients
set -euo pipefail
# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/postgres.sh
source "$POOLER_ROOT/scripts/lib/postgres.sh"
# shellcheck source=scripts/lib/install.sh
source "$POOLER_ROOT/scripts/lib/install.sh"

TARGET=$POOLER_ROOT/target
CLIENTS=$POOLER_ROOT/tests/clients
JDBC_JAR=/usr/share/java/postgresql.jar

need_rust() {
    have cargo || die "cargo is not here; https://rustup.rs installs it"
    cargo fmt --version >/dev/null 2>&1 || die "rustfmt is not here; run: rustup component add rustfmt"
    cargo clippy --version >/dev/null 2>&1 || die "clippy is not here; run: rustup component add clippy"
}

need_packages() {
    local missing=()
    have cc || missing+=(gcc libc6-dev)
    have curl || missing+=(curl ca-certificates)
    python_makes_environments || missing+=(python3 python3-venv)
    have node || missing+=(nodejs)
    have npm || missing+=(npm)
    have chromium || missing+=(chromium)
    have javac || missing+=(default-jdk-headless)
    [[ -f $JDBC_JAR ]] || missing+=(libpostgresql-jdbc-java)
    if ((${#missing[@]})); then apt_install "${missing[@]}"; fi
    pg_need_bin
    need_pg_stat_statements
    need_hypopg
}

# What the pooler counts is compared with it. Part of Debian's server today, of postgresql-contrib in old releases.
need_pg_stat_statements() {
    local library
    for library in "${PG_BIN%/bin}"/lib{,/postgresql}/pg_stat_statements.so; do
        [[ -e $library ]] && return 0
    done
    apt_install postgresql-contrib
}

# Plans with indexes that are not there; without it, one test says that it was skipped.
need_hypopg() {
    local major library
    major=$("$PG_BIN/postgres" --version | grep -oE '[0-9]+' | head -n 1)
    for library in "${PG_BIN%/bin}"/lib{,/postgresql}/hypopg.so; do
        [[ -e $library ]] && return 0
    done
    apt_install "postgresql-$major-hypopg" || say "there is no hypopg for PostgreSQL $major"
}

node_modules() {
    say "installing ${1#"$POOLER_ROOT"/}/package.json"
    local verb=install
    if [[ -f $1/package-lock.json ]]; then verb=ci; fi
    (cd "$1" && npm "$verb" --loglevel=error --no-audit --no-fund)
}

catch_exit
need_rust
need_packages
for pair in "tools $POOLER_ROOT/scripts/requirements.txt" "venv $CLIENTS/requirements.txt"; do
    list=${pair#* }
    if [[ -f $list ]]; then unless_done "$TARGET/${pair%% *}" "$list" python_environment "$TARGET/${pair%% *}" "$list"; fi
done
while read -r list; do
    unless_done "$(dirname "$list")/node_modules" "$list" node_modules "$(dirname "$list")"
done < <(find "$CLIENTS" -name package.json -not -path '*/node_modules/*' 2>/dev/null)
if [[ -f $CLIENTS/sqlx/Cargo.toml ]]; then
    CARGO_TARGET_DIR=$TARGET/sqlx cargo build --quiet --locked --manifest-path "$CLIENTS/sqlx/Cargo.toml"
fi
