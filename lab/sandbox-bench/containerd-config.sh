#!/bin/sh
# Writes containerd's and Prometheus' configuration into a directory, and the
# programs under the names that containerd calls them by.
# Usage: containerd-config.sh DIR
. "$(dirname -- "$0")/common.sh"

[ $# = 1 ] || die "usage: containerd-config.sh DIR"
dir=$1
port=${LAB_METRICS_PORT:-11338}
mkdir -p "$dir/bin"

cat >"$dir/containerd.toml" <<TOML
version = 3
root = "$dir/root"
state = "$dir/state"
# The lab talks to containerd directly; Kubernetes' interface is not needed.
disabled_plugins = ["io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri"]

[grpc]
  address = "$dir/containerd.sock"

[metrics]
  address = "127.0.0.1:$port"
TOML

cat >"$dir/prometheus.yml" <<YML
global:
  scrape_interval: 2s
scrape_configs:
  - job_name: containerd
    metrics_path: /v1/metrics
    static_configs:
      - targets: ["127.0.0.1:$port"]
YML

# The runc shim takes a program (BinaryName), without flags: runsc's are put
# into a script of two lines. Bulkhead's VM wall is chosen by the name.
if [ -x "$LAB_CACHE/bin/runsc" ]; then
    printf '#!/bin/sh\nexec %s --network=none --platform=systrap --ignore-cgroups "$@"\n' "$LAB_CACHE/bin/runsc" >"$dir/bin/runsc"
    chmod 755 "$dir/bin/runsc"
fi
for name in bulkhead bulkhead-vm; do
    ln -sf "$repo_dir/bin/bulkhead" "$dir/bin/$name"
done
ln -sf "$(command -v runc)" "$dir/bin/runc"
# Debian's crun 1.8 refuses a config.json that names a newer version of the OCI
# specification than it knows, although it understands all that is in it.
if crun=$(command -v crun); then
    cat >"$dir/bin/crun" <<SCRIPT
#!/bin/sh
last=
for arg; do
    if [ "\$last" = --bundle ]; then sed -i 's/"ociVersion":"[0-9.]*"/"ociVersion":"1.0.2"/' "\$arg/config.json"; fi
    last=\$arg
done
exec $crun "\$@"
SCRIPT
    chmod 755 "$dir/bin/crun"
fi
