#!/usr/bin/env bash
# Installs what the tests need and is missing: Debian packages through apt, everything else below target/.
# Quiet, quick and without network when all is there; `make test-deps` runs it.
#
#   target/tools    Python: the linters of scripts/requirements.txt
#   target/venv     Python: the drivers of tests/clients/requirements.txt
#   target/maven    Maven's repository, for the Java client
#   node_modules    beside each package.json in tests/clients
set -euo pipefail
# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/postgres.sh
source "$POOLER_ROOT/scripts/lib/postgres.sh"

TARGET=$POOLER_ROOT/target
STAMPS=$TARGET/stamps
CLIENTS=$POOLER_ROOT/tests/clients

need_rust() {
    have cargo || die "cargo is not here; https://rustup.rs installs it"
    cargo fmt --version >/dev/null 2>&1 || die "rustfmt is not here; run: rustup component add rustfmt"
    cargo clippy --version >/dev/null 2>&1 || die "clippy is not here; run: rustup component add clippy"
}

need_packages() {
    local missing=()
    have cc || missing+=(gcc libc6-dev)
    have curl || missing+=(curl ca-certificates)
    # Debian's python3 comes without what makes a virtual environment.
    python3 -c 'import venv, ensurepip' >/dev/null 2>&1 || missing+=(python3 python3-venv)
    have node || missing+=(nodejs)
    have npm || missing+=(npm)
    have javac || missing+=(default-jdk-headless)
    have mvn || missing+=(maven)
    if ((${#missing[@]})); then apt_install "${missing[@]}"; fi
    pg_need_bin
}

# unless_done NAME FILE COMMAND...: runs COMMAND unless it has succeeded for FILE as it is now.
unless_done() {
    local stamp=$STAMPS/$1 sum
    sum=$(sha256sum <"$2")
    [[ -f $stamp && $(<"$stamp") == "$sum" ]] && return 0
    shift 2
    "$@" || die "could not install: $*"
    printf '%s\n' "$sum" >"$stamp"
}

# python_environment FOLDER REQUIREMENTS: from nothing, so that a package dropped from the list is gone.
python_environment() {
    say "installing $(basename "$(dirname "$2")")/$(basename "$2") into ${1#"$POOLER_ROOT"/}"
    python3 -m venv --clear "$1" &&
        "$1/bin/pip" install --quiet --disable-pip-version-check -r "$2"
}

node_modules() {
    say "installing ${1#"$POOLER_ROOT"/}/package.json"
    local verb=install
    if [[ -f $1/package-lock.json ]]; then verb=ci; fi
    (cd "$1" && npm "$verb" --loglevel=error --no-audit --no-fund)
}

maven_repository() {
    say "fetching the Java packages of ${1#"$POOLER_ROOT"/}"
    mvn --batch-mode --quiet -f "$1" "-Dmaven.repo.local=$TARGET/maven" dependency:go-offline
}

catch_exit
mkdir -p "$STAMPS"
need_rust
need_packages
unless_done tools "$POOLER_ROOT/scripts/requirements.txt" python_environment "$TARGET/tools" "$POOLER_ROOT/scripts/requirements.txt"
if [[ -f $CLIENTS/requirements.txt ]]; then
    unless_done venv "$CLIENTS/requirements.txt" python_environment "$TARGET/venv" "$CLIENTS/requirements.txt"
fi
while read -r file; do
    folder=$(dirname "$file")
    if [[ ! -d $folder/node_modules ]]; then rm -f "$STAMPS/node-$(basename "$folder")"; fi
    unless_done "node-$(basename "$folder")" "$file" node_modules "$folder"
done < <(find "$CLIENTS" -name package.json -not -path '*/node_modules/*' 2>/dev/null)
while read -r file; do
    unless_done "maven-$(basename "$(dirname "$file")")" "$file" maven_repository "$file"
done < <(find "$CLIENTS" -name pom.xml 2>/dev/null)
