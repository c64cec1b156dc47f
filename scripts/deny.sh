#!/usr/bin/env bash
# Licences, sources and bans of the dependencies by deny.toml, and their advisories where the database can be reached.
set -euo pipefail
# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

DENY=$POOLER_ROOT/target/tools/bin/cargo-deny

catch_exit
cd "$POOLER_ROOT"
[[ -x $DENY ]] || die "cargo-deny is not installed; run: make test-deps"
"$DENY" --locked --log-level error check --hide-inclusion-graph bans licenses sources
if "$DENY" --log-level off fetch db >/dev/null 2>&1; then
    "$DENY" --locked --log-level error check --disable-fetch advisories
else
    warn "advisories were not looked at: https://github.com/RustSec/advisory-db cannot be reached"
fi
