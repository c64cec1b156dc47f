# shellcheck shell=bash
# Installs what lists name into folders, once. Sourced after common.sh.

# Debian's python3 comes without what makes a virtual environment.
python_makes_environments() { python3 -c 'import venv, ensurepip' >/dev/null 2>&1; }

# unless_done FOLDER FILE COMMAND...: COMMAND fills FOLDER with what FILE lists, and what the lists it names do; not
# again until one of them changes.
unless_done() {
    local stamp=$1/.installed sum
    sum=$(cd "$(dirname "$2")" && sed -n 's/^-r //p' "$2" | xargs cat "$2" | sha256sum)
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
