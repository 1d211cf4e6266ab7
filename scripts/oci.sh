#!/bin/bash
# oci.sh: the OCI runtime specification's validation suite (runtime-tools)
# against bin/bulkhead, and against runc for comparison where it is installed.
# Fails if fewer of its programs are clean than with runc. Root.
#
#   oci.sh [PROGRAM…]    only these programs, such as hostname
set -eu
cd "$(dirname "$0")/.."
bulkhead=$PWD/bin/bulkhead
work=${XDG_CACHE_HOME:-$HOME/.cache}/bulkhead/oci
version=v0.9.1-0.20250523060157-0ea5ed0382a2
module=github.com/opencontainers/runtime-tools
if [ "$(id -u)" != 0 ]; then
	echo "oci.sh: the suite makes cgroups and mounts: run it as root" >&2
	exit 1
fi

# The suite is a module of its own, built outside the tree and kept.
build() {
	[ -e "$work/built-$version" ] && return
	mkdir -p "$work/bin" "$work/run"
	printf 'module oci\n\ngo 1.24\n\nrequire %s %s\n' "$module" "$version" >"$work/go.mod"
	(
		cd "$work"
		export GOFLAGS=-mod=mod CGO_ENABLED=0
		go mod download "$module"
		cp "$(go list -m -f '{{.Dir}}' "$module")/rootfs-amd64.tar.gz" run/
		go build -o bin/ "$module/cmd/runtimetest" "$module/validation/..."
		cp bin/runtimetest run/
	)
	: >"$work/built-$version"
}

# suite RUNTIME RESULTS PROGRAM…: one line per program.
suite() {
	local runtime=$1 results=$2 tap=$work/run/out.tap rc ok bad verdict
	shift 2
	: >"$results"
	for name in "$@"; do
		rc=0
		(cd "$work/run" && RUNTIME=$runtime timeout -k 5 60 "$work/bin/$name" >"$tap" 2>"$tap.err") || rc=$?
		ok=$(grep -c '^ok' "$tap" || true)
		bad=$(grep -c '^not ok' "$tap" || true)
		verdict=clean
		if [ "$rc" != 0 ] || [ "$bad" != 0 ]; then verdict=fails; fi
		printf '%s %s %s %s\n' "$name" "$verdict" "$ok" "$bad" >>"$results"
	done
}

build
programs=$*
if [ -z "$programs" ]; then
	programs=$(cd "$work/bin" && ls | grep -v '^runtimetest$')
fi
suite "$bulkhead" "$work/bulkhead.txt" $programs
runc=$(command -v runc || true)
if [ -n "$runc" ]; then suite "$runc" "$work/runc.txt" $programs; else : >"$work/runc.txt"; fi

awk '
	FNR == 1 { file++ }
	{ v[file, $1] = $2; n[$1]; passed[file] += $3; failed[file] += $4; if ($2 == "clean") clean[file]++ }
	END {
		for (name in n) printf "%-34s bulkhead %-6s runc %s\n", name, v[1, name], v[2, name] | "sort"
		close("sort")
		printf "clean programs: bulkhead %d, runc %d\n", clean[1], clean[2]
		printf "checks passed and failed: bulkhead %d and %d, runc %d and %d\n", passed[1], failed[1], passed[2], failed[2]
		exit clean[1] < clean[2]
	}' "$work/bulkhead.txt" "$work/runc.txt"
