# Shared by the Kubernetes trial's scripts: the lab's own helpers, and versions.
# Sourced, never run.

. "$(dirname -- "$0")/../sandbox-bench/common.sh"

kubernetes=v1.37.2
