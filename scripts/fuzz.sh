#!/usr/bin/env bash
# Runs the fuzz targets of fuzz/ (all of them, or those named), each for a while from the committed seeds and from what
# earlier runs found. Installs cargo-fuzz below target/ if it is missing; the toolchain is the one that builds the pooler.
#
#   FUZZ_SECONDS=60   how long each
#
# What breaks an invariant is left in fuzz/artifacts/TARGET, and printed with how to try it again.
set -euo pipefail
# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

CARGO_FUZZ_VERSION=0.13.2
TOOLS=$POOLER_ROOT/target/cargo-tools
FUZZ=$POOLER_ROOT/fuzz
SECONDS_EACH=${FUZZ_SECONDS:-60}
# Nothing that is checked takes an input this long to be tried, or a second for one.
LONGEST_INPUT=4096
LONGEST_SECONDS=10

fuzz_target() {
    local name=$1 artifacts=$FUZZ/artifacts/$1
    mkdir -p "$FUZZ/corpus/$name" "$artifacts"
    say "$name: $SECONDS_EACH s"
    # No sanitizer: there is no unsafe code to watch, and it needs a nightly compiler.
    cargo fuzz run --fuzz-dir "$FUZZ" --sanitizer none "$name" "$FUZZ/corpus/$name" "$FUZZ/seeds/$name" -- \
        -max_total_time="$SECONDS_EACH" -max_len=$LONGEST_INPUT -timeout=$LONGEST_SECONDS \
        -artifact_prefix="$artifacts/" -print_final_stats=1 2>"$artifacts/log" || {
        tail -n 40 "$artifacts/log" >&2
        die "$name: see $artifacts; again: cargo fuzz run --sanitizer none $name FILE"
    }
    grep -aE '^#[0-9]+.*DONE' "$artifacts/log" | sed "s/^/$name: /"
}

catch_exit
cd "$POOLER_ROOT"
PATH=$TOOLS/bin:$PATH
if ! have cargo-fuzz; then
    say "installing cargo-fuzz $CARGO_FUZZ_VERSION into target/cargo-tools (some minutes)"
    cargo install --quiet --locked --root "$TOOLS" cargo-fuzz --version "$CARGO_FUZZ_VERSION"
fi
targets=("$@")
if ((${#targets[@]} == 0)); then
    mapfile -t targets < <(find "$FUZZ/fuzz_targets" -name '*.rs' -printf '%f\n' | sed 's/\.rs$//' | sort)
fi
for target in "${targets[@]}"; do fuzz_target "$target"; done
