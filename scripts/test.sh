#!/bin/bash
# test.sh: every test that belongs to `make test`, with go test's own closing
# lines, and behind each part the tests that were skipped, with their reasons.
# Fails if any part fails, or if a test was skipped for want of what root can make
# or install (scripts/setup-test.sh comes before).
set -u -o pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0
rc=0 strict=
[ "$(id -u)" = 0 ] && strict=-strict
list=$(mktemp) || exit 1
trap 'rm -f "$list"' EXIT
go build -o "$list" ./scripts/testlist || exit 1
go test -json -count=1 -timeout 20m $(go list ./... | grep -v /conformance) | "$list" $strict || rc=1
go test -json -count=1 -timeout 40m ./conformance/ | "$list" $strict || rc=1
exit $rc
