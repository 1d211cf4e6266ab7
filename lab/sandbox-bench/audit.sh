#!/bin/sh
# Audits every runtime of this machine, and makes docs/hardening.md from what it
# said. Leaves report/audit.html, audit.md and audit.json beside the bench report.
# Usage: audit.sh [flags of bulkhead audit]
. "$(dirname -- "$0")/common.sh"

need_root "the audit of runc, crun and gVisor"
"$lab_dir/install.sh"
rootfs=$("$lab_dir/rootfs.sh")
"$lab_dir/runsc.sh" >/dev/null || say "runsc could not be built: its column will say so"

cd "$repo_dir"
mkdir -p report
"$repo_dir/bin/bulkhead" audit --rootfs "$rootfs" --out report "$@"
[ $# -gt 0 ] || cp report/hardening.md docs/hardening.md
