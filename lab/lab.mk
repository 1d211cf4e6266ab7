# The labs: what the workbench measures, and the tests that need more than Go.
# Included by the Makefile, whose `build` makes the programs; LAB_FLAGS are flags of bulkhead bench.

LAB_FLAGS ?= --quick
LAB_DIR := lab/sandbox-bench

.PHONY: lab lab-containerd lab-report test-browser test-lab test-lab-containerd test-kubernetes test-pods

lab: build ## measure every runtime of this machine (root; LAB_FLAGS=--full for all of it)
	$(LAB_DIR)/lab.sh $(LAB_FLAGS)

lab-containerd: build ## the same through containerd: ctr and nerdctl, scraped by Prometheus (root)
	$(LAB_DIR)/containerd.sh $(LAB_FLAGS)

lab-report: build ## measure in full, 35 minutes, into docs/report (root, idle machine; REPORT_FLAGS=--resume goes on)
	$(LAB_DIR)/lab.sh --full --out docs/report $(REPORT_FLAGS)

test-browser: ## look at the report in Debian's chromium (installed when missing)
	$(LAB_DIR)/browser.sh
	go test -count=1 -tags browser -run Browser ./internal/workbench/report

test-lab: build ## a short run of the lab with the real runtimes (root)
	go test -count=1 -tags lab -run 'Lab$$' -timeout 40m ./internal/workbench

test-lab-containerd: build ## run the commands of lab/sandbox-bench/README.md (root)
	go test -count=1 -tags lab -run LabContainerd -timeout 60m ./internal/workbench

test-kubernetes: ## what policy renders, on a real kube-apiserver with etcd (builds it once: ten minutes of CPU)
	lab/kubernetes/test.sh

.PHONY: audit test-audit

audit: build ## what each wall leaves of the host's kernel in reach, into report/ and docs/hardening.md (root)
	$(LAB_DIR)/audit.sh $(AUDIT_FLAGS)

.PHONY: runbook
runbook: build ## docs/runbook.md again, with the figures of docs/report/results.json
	bin/bulkhead policy render runbook --report docs/report/results.json --out docs/runbook.md

test-audit: build ## the audit and advise with the real runtimes of this machine (root)
	$(LAB_DIR)/install.sh
	$(LAB_DIR)/rootfs.sh >/dev/null    # else the host's own root is made an image of
	go test -count=1 -tags audit -run 'RealRuntimes|VMWall|FailOn|OrdinaryUser|Advise' -timeout 40m ./internal/workbench/audit

test-pods: build ## a pod's containers in one VM, by containerd's CRI and a CNI bridge (root; builds crictl once)
	lab/pods/test.sh
