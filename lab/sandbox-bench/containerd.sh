#!/bin/sh
# The lab through containerd: ctr and nerdctl run the same workloads on each
# runtime, all of them with --full, and a Prometheus scrapes containerd meanwhile.
# Usage: containerd.sh [flags of bulkhead bench]
. "$(dirname -- "$0")/common.sh"

[ $# -gt 0 ] || set -- --quick
need_root "the containerd lab"
# Ten columns, each behind a client and a daemon: three minutes are enough for some.
case " $* " in
*" --full "* | *" --workloads"*) ;;
*) set -- --workloads run-true,exec-true,idle,find,sysbench-cpu "$@" ;;
esac

# Everything below runs in namespaces of its own: what it mounts and starts ends
# with it, however it ends.
if [ -z "${LAB_INSIDE:-}" ]; then
    "$lab_dir/install.sh" containerd
    "$lab_dir/rootfs.sh" >/dev/null
    "$lab_dir/runsc.sh" >/dev/null || say "runsc could not be built: its rows will say so"
    "$lab_dir/containerd-build.sh" >/dev/null
    export LAB_INSIDE=1
    exec unshare --mount --propagation private --pid --fork --kill-child --mount-proc "$lab_dir/containerd.sh" "$@"
fi

dir=$(mktemp -d /var/tmp/bulkhead-containerd.XXXXXX)
clean() {
    trap '' EXIT INT TERM
    kill ${prometheus:-} ${containerd:-} 2>/dev/null || true
    wait 2>/dev/null || true
    # Snapshots and shims may still be mounted: they go with the namespace, and
    # nothing below a mount is removed through it.
    awk -v d="$dir/" 'index($2, d) == 1 { print $2 }' /proc/mounts | sort -r | while read -r m; do umount -l "$m" || true; done
    rm -rf --one-file-system "$dir"
}
trap clean EXIT
trap 'exit 130' INT TERM

export PATH="$LAB_CACHE/bin:$PATH"
"$lab_dir/containerd-config.sh" "$dir"
# crun refuses cgroup hierarchies of both versions side by side.
hide_unified

say "starting containerd and Prometheus"
start_containerd "$dir"
prom_port=${LAB_PROMETHEUS_PORT:-11339}
prometheus --config.file="$dir/prometheus.yml" --storage.tsdb.path="$dir/prometheus" \
    --web.listen-address="127.0.0.1:$prom_port" >"$dir/prometheus.log" 2>&1 &
prometheus=$!

say "making and importing the image"
image=localhost/lab:1
"$lab_dir/image.sh" "$LAB_CACHE/rootfs" $image "$dir/image.tar"
timeout 300 ctr --address "$dir/containerd.sock" --namespace lab image import "$dir/image.tar" >/dev/null
rm -f "$dir/image.tar"

"$lab_dir/containerd-runtimes.sh" "$dir" >"$dir/runtimes.yaml"
cd "$repo_dir"
status=0
"$repo_dir/bin/bulkhead" bench --only-files --runtimes-file "$dir/runtimes.yaml" \
    --baseline ctr-runc --rootfs "$LAB_CACHE/rootfs" --image $image --out report/containerd "$@" || status=$?

query() { curl -sS --max-time 10 --get --data-urlencode "query=$1" "http://127.0.0.1:$prom_port/api/v1/query"; }
say "what Prometheus scraped from containerd (report/containerd/prometheus.json)"
{
    query 'up{job="containerd"}'
    echo
    query 'topk(5, sum by (grpc_method) (grpc_server_handled_total{job="containerd"}))'
    echo
} >report/containerd/prometheus.json
grep -q '"value":\[[0-9.]*,"1"\]' report/containerd/prometheus.json || die "Prometheus did not reach containerd: see report/containerd/prometheus.json"
exit $status
