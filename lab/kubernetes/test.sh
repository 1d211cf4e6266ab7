#!/bin/sh
# Tries what `bulkhead policy render kubernetes` writes on a real kube-apiserver
# with etcd: both on loopback, their data in a directory that goes with them.
# Usage: test.sh [flags of a test binary, such as -test.v]
. "$(dirname -- "$0")/common.sh"

"$lab_dir/install.sh"
KUBE_APISERVER=$("$lab_dir/build.sh")
export KUBE_APISERVER CGO_ENABLED=0
dir=$(mktemp -d "${TMPDIR:-/var/tmp}/bulkhead-kubernetes.XXXXXX")
trial=
clean() {
    trap '' EXIT INT TERM
    # The servers end with the trial, however it ends (PDEATHSIG).
    [ -z "$trial" ] || kill "$trial" 2>/dev/null || true
    wait
    rm -rf "$dir"
}
trap clean EXIT
trap 'exit 130' INT TERM

cd "$repo_dir/internal/workbench/policy"
go test -tags kubernetes -c -o "$dir/trial" .
TMPDIR=$dir "$dir/trial" -test.run Kubernetes -test.timeout 20m "$@" &
trial=$!
status=0
wait "$trial" || status=$?
trial=
exit $status
