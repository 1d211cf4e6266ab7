#!/bin/bash
# test.sh: every test that belongs to `make test`, with go test's own closing
# lines. Fails if any part fails.
set -u
cd "$(dirname "$0")/.."
rc=0
CGO_ENABLED=0 go test -count=1 -timeout 20m $(go list ./... | grep -v /conformance) || rc=1
CGO_ENABLED=0 go test -count=1 -timeout 40m ./conformance/ || rc=1
exit $rc
