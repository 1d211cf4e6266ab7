#!/bin/bash
# oci.sh: the OCI runtime specification's validation suite (runtime-tools)
# against bin/bulkhead, and against runc for comparison where it is installed.
# Fails if fewer of its programs are clean than with runc. Root.
#
#   oci.sh [--wall=vm] [PROGRAM…]    only these programs, such as hostname
#
# Behind the VM wall each container is a VM, and a program of the suite makes
# up to twenty: without KVM it takes half an hour.
set -eu
cd "$(dirname "$0")/.."
bin=${BULKHEAD_BIN:-$PWD/bin}
bulkhead=$bin/bulkhead wall=sentry limit=60
case ${1-} in
--wall=sentry) shift ;;
--wall=vm) shift; wall=vm limit=900 ;;
--*) echo "oci.sh: $1: want --wall=sentry or --wall=vm" >&2; exit 1 ;;
esac
work=${XDG_CACHE_HOME:-$HOME/.cache}/bulkhead/oci
version=v0.9.1-0.20250523060157-0ea5ed0382a2
module=github.com/opencontainers/runtime-tools
if [ "$(id -u)" != 0 ]; then
	echo "oci.sh: the suite makes cgroups and mounts: run it as root" >&2
	exit 1
fi

# Some of its programs leave mounts and directories behind: they go with a
# namespace and a directory that this run alone has.
if [ -z "${OCI_INSIDE-}" ]; then
	TMPDIR=$(mktemp -d) && export TMPDIR
	rc=0
	OCI_INSIDE=1 unshare --mount --propagation private scripts/oci.sh "--wall=$wall" "$@" || rc=$?
	rm -rf --one-file-system "$TMPDIR"
	exit $rc
fi

# The suite is a module of its own, built outside the tree and kept. It gives a
# container ten seconds to end. A VM without KVM needs more on a busy machine,
# so that the suite for that wall is built to be twenty times as patient.
build() {
	[ -e "$work/built-$wall-$version" ] && return
	mkdir -p "$work/$wall/bin" "$work/run"
	printf 'module oci\n\ngo 1.24\n\nrequire %s %s\n' "$module" "$version" >"$work/$wall/go.mod"
	(
		cd "$work/$wall"
		export GOFLAGS=-mod=mod CGO_ENABLED=0
		go mod download "$module"
		dir=$(go list -m -f '{{.Dir}}' "$module")
		cp "$dir/rootfs-amd64.tar.gz" ../run/
		if [ $wall = vm ]; then
			rm -rf src
			cp -r "$dir" src
			chmod -R u+w src
			sed -i 's/time.Since(start) < retryTimeout/time.Since(start) < 20*retryTimeout/' src/validation/util/test.go
			sed -i 's/"sleep", "30"/"sleep", "600"/' src/validation/kill/kill.go src/validation/delete/delete.go # longer than that
			echo "replace $module => ./src" >>go.mod
		fi
		go build -o bin/ "$module/cmd/runtimetest" "$module/validation/..."
		cp bin/runtimetest ../run/
	)
	: >"$work/built-$wall-$version"
}

# suite RUNTIME LIMIT RESULTS PROGRAM…: one line per program.
suite() {
	local runtime=$1 limit=$2 results=$3 tap rc ok bad verdict
	shift 3
	: >"$results"
	mkdir -p "${results%.txt}" # what each program said
	for name in "$@"; do
		rc=0 tap=${results%.txt}/$name
		(cd "$work/run" && RUNTIME=$runtime timeout -k 5 "$limit" "$work/$wall/bin/$name" >"$tap" 2>"$tap.err") || rc=$?
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
	programs=$(cd "$work/$wall/bin" && ls | grep -v '^runtimetest$')
fi
if [ $wall = vm ]; then
	# The suite's runtime is one word: the program's name chooses the wall.
	mkdir -p "$work/program"
	cp "$bin"/bulkhead-vmm "$bin"/bulkhead-agent "$work/program/"
	cp "$bulkhead" "$work/program/bulkhead-vm"
	bulkhead=$work/program/bulkhead-vm
fi
suite "$bulkhead" $limit "$work/bulkhead-$wall.txt" $programs
runc=$(command -v runc || true)
if [ -n "$runc" ]; then suite "$runc" 60 "$work/runc.txt" $programs; else : >"$work/runc.txt"; fi

awk '
	FNR == 1 { file++ }
	{ v[file, $1] = $2; n[$1]; passed[file] += $3; failed[file] += $4; if ($2 == "clean") clean[file]++ }
	END {
		for (name in n) printf "%-34s bulkhead %-6s runc %s\n", name, v[1, name], v[2, name] | "sort"
		close("sort")
		printf "clean programs: bulkhead %d, runc %d\n", clean[1], clean[2]
		printf "checks passed and failed: bulkhead %d and %d, runc %d and %d\n", passed[1], failed[1], passed[2], failed[2]
		exit clean[1] < clean[2]
	}' "$work/bulkhead-$wall.txt" "$work/runc.txt"
