#!/usr/bin/env bash
# Checks what the compiler does not see: `scripts` (shell, Python) and `packaging` (systemd, Docker).
set -euo pipefail
# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

TOOLS=$POOLER_ROOT/target/tools/bin
# The first systemd that knows Type=notify-reload.
NOTIFY_RELOAD_SYSTEMD=253

lint_scripts() {
    local files
    mapfile -t files < <(grep -rlE '^#!/usr/bin/env bash|^# shellcheck shell=bash' Makefile .ci scripts docker packaging)
    ((${#files[@]} > 5)) || die "found only ${#files[@]} shell scripts: this check is looking in the wrong place"
    "$TOOLS/shellcheck" --external-sources --source-path="$POOLER_ROOT" "${files[@]}"
    "$TOOLS/ruff" check --quiet benches
}

lint_packaging() {
    "$TOOLS/hadolint" docker/Dockerfile
    "$TOOLS/check-jsonschema" --quiet --builtin-schema vendor.compose-spec docker/compose.yml
    lint_unit
}

# `verify` wants the program to exist, so it sees a copy of the unit that starts /bin/true.
lint_unit() {
    local unit findings version
    have systemd-analyze || apt_install systemd
    unit=$(mktemp -d "${TMPDIR:-/tmp}/pooler-unit.XXXXXX")
    on_exit rm -rf "$unit"
    sed 's#^ExecStart=[^ ]*#ExecStart=/bin/true#' packaging/systemd/pooler.service >"$unit/pooler.service"
    version=$(systemd-analyze --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
    # Findings are text: the exit status of some versions is 0 whatever they found.
    findings=$(systemd-analyze verify --man=no "$unit/pooler.service" 2>&1 || true)
    findings=$(grep -F "$unit/" <<<"$findings" || true)
    if ((version < NOTIFY_RELOAD_SYSTEMD)); then
        findings=$(grep -vE 'Failed to parse service type, ignoring: notify-reload' <<<"$findings" || true)
    fi
    [[ -z $findings ]] || die "systemd-analyze verify: $findings"
}

catch_exit
cd "$POOLER_ROOT"
[[ -x $TOOLS/shellcheck ]] || die "the linters are not installed; run: make test-deps"
case ${1:-} in
scripts) lint_scripts ;;
packaging) lint_packaging ;;
*) die "usage: scripts/lint.sh scripts|packaging" ;;
esac
