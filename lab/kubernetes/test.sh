#!/bin/sh
# Tries what `bulkhead policy render kubernetes` writes on a real kube-apiserver
# with etcd: both on loopback, their data in a directory that goes with them.
# Usage: test.sh [flags of go test]
. "$(dirname -- "$0")/common.sh"

"$lab_dir/install.sh"
KUBE_APISERVER=$("$lab_dir/build.sh")
export KUBE_APISERVER CGO_ENABLED=0
dir=$(mktemp -d "${TMPDIR:-/var/tmp}/bulkhead-kubernetes.XXXXXX")
trap 'rm -rf "$dir"' EXIT # the servers end with the test, however it ends
trap 'exit 130' INT TERM
cd "$repo_dir"
# Not exec: the directory is removed afterwards.
TMPDIR=$dir go test -count=1 -tags kubernetes -run Kubernetes -timeout 20m "$@" ./internal/workbench/policy
