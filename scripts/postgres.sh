#!/usr/bin/env bash
# A throwaway Postgres for one command, or the folder of its programs.
#
#   scripts/postgres.sh bin                 prints the folder of initdb, postgres, psql; installs them where apt can
#   scripts/postgres.sh run COMMAND...      starts a cluster, runs COMMAND with PGHOST, PGPORT, PGUSER, PGPASSWORD set,
#                                           removes the cluster; ends with COMMAND's status
#   scripts/postgres.sh check               does all of that once, to see that it works here
set -euo pipefail
# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/postgres.sh
source "$POOLER_ROOT/scripts/lib/postgres.sh"

run() {
    local child status=0
    catch_exit
    pg_start 'max_connections = 100'
    PGPASSWORD=$(<"$PG_PASSWORD_FILE")
    export PGPASSWORD PGHOST=127.0.0.1 PGPORT=$PG_PORT PGUSER=postgres PGDATABASE=postgres PG_BIN PATH=$PG_BIN:$PATH
    "$@" <&0 &
    child=$!
    on_exit stop_process "$child"
    wait "$child" || status=$?
    return "$status"
}

case ${1:-} in
bin)
    catch_exit
    pg_need_bin
    printf '%s\n' "$PG_BIN"
    ;;
run)
    shift
    (($#)) || die "run what? scripts/postgres.sh run COMMAND..."
    run "$@"
    ;;
check)
    run psql -X -At -c 'SELECT version()'
    ;;
*)
    sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 2
    ;;
esac
