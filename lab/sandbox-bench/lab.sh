#!/bin/sh
# The lab "two sandboxes", whole: installs what it needs, makes a Debian root
# file system, builds runsc, measures every runtime that is present and leaves
# report/index.html, report/matrix.md and report/results.json.
# Usage: lab.sh [flags of bulkhead bench]
. "$(dirname -- "$0")/common.sh"

[ $# -gt 0 ] || set -- --quick
need_root "the lab"
"$lab_dir/install.sh"
rootfs=$("$lab_dir/rootfs.sh")
# A runtime that cannot be had is a row of the report, not a failure of the lab.
"$lab_dir/runsc.sh" >/dev/null || say "runsc could not be built: its rows will say so"

cd "$repo_dir"
exec "$repo_dir/bin/bulkhead" bench --rootfs "$rootfs" "$@"
