# Shared by the lab's scripts: where things are kept, and how messages look.
# Sourced, never run.

set -eu

lab_dir=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
repo_dir=$(CDPATH= cd -- "$lab_dir/../.." && pwd)

# Everything that is downloaded or built lives outside the tree, so that a
# clean checkout stays clean and a second run is quick.
if [ -z "${LAB_CACHE:-}" ]; then
    if [ "$(id -u)" = 0 ]; then
        LAB_CACHE=/var/cache/bulkhead-lab
    else
        LAB_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/bulkhead-lab
    fi
fi
export LAB_CACHE
mkdir -p "$LAB_CACHE/bin"

say() { printf 'lab: %s\n' "$*" >&2; }
die() { printf 'lab: %s\n' "$*" >&2; exit 1; }

need_root() {
    [ "$(id -u)" = 0 ] || die "$1 needs root: run it as root (or with sudo)"
}

need_command() {
    command -v "$1" >/dev/null 2>&1 || die "$1 is not installed: $2"
}

# need_space DIR MEGABYTES: refuse before a half-made result fills the disk.
need_space() {
    free=$(df -Pm "$1" | awk 'NR == 2 { print $4 }')
    [ "$free" -ge "$2" ] || die "$1 has $free MB free, $2 MB are needed: free some space or set LAB_CACHE"
}
