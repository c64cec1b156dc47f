#!/usr/bin/env bash
# Minutes of mixed load while clients and servers die and settings are reloaded; then looks for leaks. See `make soak`.
#
#   SOAK_SECONDS=600      how long: clients with settings of their own, then as long mixed load
#   SOAK_POOLER=PATH      this binary instead of building one
set -euo pipefail
# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/postgres.sh
source "$POOLER_ROOT/scripts/lib/postgres.sh"
# shellcheck source=scripts/lib/bench_postgres.sh
source "$POOLER_ROOT/scripts/lib/bench_postgres.sh"

catch_exit
SOAK_POOLER=${SOAK_POOLER:-}
SOAK_SECONDS=${SOAK_SECONDS:-600}
need_pooler SOAK_POOLER
measured_postgres calm rough
# The rude clients end server processes of their own role only.
say "$SOAK_SECONDS s of load and faults"
# Clients that all have settings of their own, each answer of which is looked at.
NONCE_SECONDS=$SOAK_SECONDS cargo test --locked --manifest-path "$POOLER_ROOT/Cargo.toml" --test integration nonce
harness soak.py --pooler "$SOAK_POOLER" --seconds "$SOAK_SECONDS"
