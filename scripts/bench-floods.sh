#!/usr/bin/env bash
# What strangers in numbers cost a client that is logged in, and the pooler's memory. See `make bench-floods`.
#
#   FLOODS_SECONDS=3 FLOODS_ROUNDS=3   how long and how often each flood is measured, twice at least
#   FLOODS_ONLY=TEXT                   only the floods whose title has it
#   FLOODS_KEY=ec                      the key of the certificate: ec (P-256), or rsa:BITS
#   FLOODS_POOLER=PATH                 this binary instead of building one
#
# Ends with status 1 if a 99th percentile is over 1.5 times that of the same flood against another pooler, or if memory
# grows by more than 8 MiB from the first round to the last.
set -euo pipefail
# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/postgres.sh
source "$POOLER_ROOT/scripts/lib/postgres.sh"
# shellcheck source=scripts/lib/bench_postgres.sh
source "$POOLER_ROOT/scripts/lib/bench_postgres.sh"

catch_exit
FLOODS_POOLER=${FLOODS_POOLER:-}
need_pooler FLOODS_POOLER
measured_postgres bench
harness floods.py --user bench --database bench --drop-to "$(if is_root; then printf %s "$PG_USER"; fi)" \
    --pooler "$FLOODS_POOLER" --key "${FLOODS_KEY:-ec}" --rounds "${FLOODS_ROUNDS:-3}" \
    --seconds "${FLOODS_SECONDS:-3}" --only "${FLOODS_ONLY:-}"
