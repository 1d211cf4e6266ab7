# Bulkhead: the two commands that matter are `make run` and `make test`; each
# does its own set-up on a fresh Debian 12 machine with Go.

SHELL := /bin/bash
export CGO_ENABLED := 0

.PHONY: help build run test check conform bench fuzz race soak oci generate

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  %-22s %s\n", $$1, $$2}'

build: ## bin/bulkhead, and the programs it starts beside it, static
	go build -ldflags '-s -w' -o bin/ ./cmd/bulkhead ./cmd/bulkhead-bench ./cmd/bulkhead-vmm ./cmd/bulkhead-agent

run: build ## the main job on real input: find, python3 and a pipeline behind the Sentry
	@scripts/run.sh

.PHONY: run-vm test-vm
run-vm: build ## the VM wall on real input: installs QEMU and a kernel if missing (Debian, root)
	@scripts/run-vm.sh

test-vm: setup-test build ## the whole of the VM wall's tests: real machines, under TCG where KVM runs none (root)
	BULKHEAD_VM_FULL=1 go test -tags vm -count=1 -v -timeout 90m ./internal/vm/...
	BULKHEAD_VM_FULL=1 go test -count=1 -v -timeout 4h -run 'VM$$' ./conformance/
	scripts/oci.sh --wall=vm

test: setup-test build ## every test: units, then real programs and conformance cases behind the wall
	@scripts/test.sh

.PHONY: setup-test
setup-test:
	@scripts/setup-test.sh

check: ## formatting, vet, layering
	@test -z "$$(gofmt -l cmd internal conformance bench | tee /dev/stderr)" || { echo 'run: gofmt -w .'; exit 1; }
	go vet ./...

conform: setup-test build ## the conformance cases and programs (CONFORM_RUN=regexp picks)
	go test -count=1 -v -timeout 60m ./conformance/

oci: build ## the OCI runtime specification's validation suite, beside runc (root)
	@scripts/oci.sh $(OCI_RUN)    # --wall=vm: behind the VM wall

soak: build ## sandboxes over and over, several at a time, then one that stays (SOAK_MINUTES=5)
	@scripts/soak.sh $${SOAK_MINUTES:-5}

race: ## the unit tests under the race detector
	CGO_ENABLED=1 go test -race -count=1 ./internal/...

generate: ## build the stub's blob again (Debian 12's gcc)
	go generate ./internal/platform

include lab/lab.mk

bench: build ## the Sentry against native and runc, the VM wall against a bare guest: ratios, beside what each may cost (root for all of it)
	@command -v runc >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq --no-install-recommends runc >/dev/null; } || true
	go run ./bench $(BENCH_FLAGS)

fuzz: ## each fuzz target for a minute (FUZZTIME=…)
	@for p in $$(grep -rl --include=*_test.go '^func Fuzz' internal | xargs -n1 dirname | sort -u); do \
		for f in $$(grep -hoE '^func Fuzz[A-Za-z0-9]+' $$p/*_test.go | cut -c6-); do \
			echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $${FUZZTIME:-60s} ./$$p || exit 1; done; done
