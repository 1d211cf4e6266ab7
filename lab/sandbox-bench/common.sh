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

# built NAME VERSION: whether that version of a program was built already.
built() {
    [ -x "$LAB_CACHE/bin/$1" ] && [ "$(cat "$LAB_CACHE/$1.version" 2>/dev/null)" = "$2" ]
}

# begin_module NAME MODULE VERSION PACKAGE MEGABYTES: a Go module of its own
# outside this tree that needs PACKAGE of MODULE, as the working directory.
begin_module() {
    need_command go "install Go 1.26 or newer"
    need_space "$LAB_CACHE" "$5"
    mod=$(mktemp -d "$LAB_CACHE/$1-build.XXXXXX")
    trap 'rm -rf "$mod"' EXIT
    trap 'exit 130' INT TERM
    cd "$mod"
    printf 'module lab.invalid/%s\n\ngo 1.26\n\nrequire %s %s\n' "$1" "$2" "$3" >go.mod
    printf '//go:build tools\n\npackage tools\n\nimport _ "%s"\n' "$4" >tools.go
}

# build_program NAME VERSION PACKAGE [FLAGS…]: builds it in begin_module's module.
build_program() {
    program=$1 version=$2 package=$3
    shift 3
    CGO_ENABLED=0 go build "$@" -o "$LAB_CACHE/bin/$program.new" "$package" >build.log 2>&1 ||
        { tail -5 build.log >&2; die "$program did not build"; }
    mv "$LAB_CACHE/bin/$program.new" "$LAB_CACHE/bin/$program"
    printf '%s' "$version" >"$LAB_CACHE/$program.version"
}

tidy_module() {
    go mod tidy "$@" >build.log 2>&1 || { tail -5 build.log >&2; die "the module could not be resolved (no network?)"; }
}

# start_containerd DIR: one with DIR/containerd.toml and DIR/containerd.sock, whose
# process is $containerd. To be called in a mount namespace of the script's own.
start_containerd() {
    containerd --config "$1/containerd.toml" >"$1/containerd.log" 2>&1 &
    containerd=$!
    n=0
    until timeout 10 ctr --address "$1/containerd.sock" version >/dev/null 2>&1; do
        n=$((n + 1))
        [ $n -lt 100 ] || { tail -5 "$1/containerd.log" >&2; die "containerd does not answer"; }
        sleep 0.2
    done
}

# hide_unified hides the v2 hierarchy beside those of v1, in this mount namespace.
hide_unified() {
    if [ -e /sys/fs/cgroup/unified/cgroup.controllers ]; then
        mount --bind /dev/null /sys/fs/cgroup/unified/cgroup.controllers
    fi
}
