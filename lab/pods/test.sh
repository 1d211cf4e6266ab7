#!/bin/sh
# Pods behind the VM wall, as Kubernetes makes them: containerd's CRI, a CNI bridge,
# crictl in place of the kubelet. Checks what the containers of a pod have in common
# and what each has for itself. Root. Usage: test.sh
. "$(dirname -- "$0")/../sandbox-bench/common.sh"

need_root "the pods' test"
lab=$repo_dir/lab/sandbox-bench
crictl_version=v1.34.0

# Everything below runs in namespaces of its own: bridge, mounts and processes end
# with it, however it ends.
if [ -z "${LAB_INSIDE:-}" ]; then
    "$lab/install.sh" containerd >/dev/null
    "$lab/containerd-build.sh" >/dev/null
    need_command busybox "apt-get install busybox-static"
    if ! built crictl $crictl_version; then
        need_command go "install Go 1.26 or newer"
        need_space "$LAB_CACHE" 2000
        say "building crictl $crictl_version (some minutes)"
        CGO_ENABLED=0 GOFLAGS=-mod=mod GOBIN=$LAB_CACHE/bin go install sigs.k8s.io/cri-tools/cmd/crictl@$crictl_version
        printf '%s' $crictl_version >"$LAB_CACHE/crictl.version"
    fi
    export LAB_INSIDE=1
    exec unshare --mount --propagation private --net --pid --fork --kill-child --mount-proc "$0" "$@"
fi

dir=$(mktemp -d /var/tmp/bulkhead-pods.XXXXXX)
clean() {
    trap '' EXIT INT TERM
    kill ${containerd:-} 2>/dev/null || true
    wait 2>/dev/null || true
    awk -v d="$dir/" 'index($2, d) == 1 { print $2 }' /proc/mounts | sort -r | while read -r m; do umount -l "$m" || true; done
    rm -rf --one-file-system "$dir"
}
trap clean EXIT
trap 'exit 130' INT TERM

export PATH="$LAB_CACHE/bin:$PATH"
ip link set lo up
mkdir -p "$dir/bin" "$dir/cni" "$dir/logs" "$dir/volume"
ln -s "$repo_dir/bin/bulkhead" "$dir/bin/bulkhead-vm"
hide_unified # containerd takes the first version that it meets
cat >"$dir/containerd.toml" <<TOML
version = 3
root = "$dir/root"
state = "$dir/state"
[grpc]
  address = "$dir/containerd.sock"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "localhost/pause:1"
[plugins."io.containerd.cri.v1.runtime"]
  enable_selinux = false
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["/usr/lib/cni"]
  conf_dir = "$dir/cni"
[plugins."io.containerd.cri.v1.runtime".containerd]
  default_runtime_name = "bulkhead-vm"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.bulkhead-vm]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.bulkhead-vm.options]
  BinaryName = "$dir/bin/bulkhead-vm"
TOML
cat >"$dir/cni/10-pods.conflist" <<JSON
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "bhpods0", "isGateway": true, "ipMasq": false,
   "ipam": {"type": "host-local", "dataDir": "$dir/ipam", "ranges": [[{"subnet": "10.231.90.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
JSON

say "starting containerd"
start_containerd "$dir"
mkdir -p "$dir/rootfs/usr/bin" "$dir/rootfs/bin" "$dir/rootfs/etc" "$dir/rootfs/tmp"
cp "$(command -v busybox)" "$dir/rootfs/bin/busybox"
for name in sh cat echo sleep hostname nc wget httpd ps ls id ip true; do ln -s busybox "$dir/rootfs/bin/$name"; done
# The image of the sandbox container, whose command waits.
mkdir -p "$dir/pause/usr" "$dir/pause/bin"
cp "$(command -v busybox)" "$dir/pause/bin/busybox"
printf '#!/bin/busybox sh\ntrap "exit 0" TERM INT\nwhile :; do /bin/busybox sleep 1000 & wait $!; done\n' >"$dir/pause/bin/sh"
chmod 755 "$dir/pause/bin/sh"
for image in rootfs:localhost/pod:1 pause:localhost/pause:1; do
    "$lab/image.sh" "$dir/${image%%:*}" "${image#*:}" "$dir/image.tar"
    timeout 100 ctr --address "$dir/containerd.sock" --namespace k8s.io image import "$dir/image.tar" >/dev/null
done

: >"$dir/crictl.yaml"
cri() { CRI_CONFIG_FILE=$dir/crictl.yaml timeout "${LIMIT:-300}" crictl --runtime-endpoint "unix://$dir/containerd.sock" --image-endpoint "unix://$dir/containerd.sock" --timeout 280s "$@"; }
fail() {
    echo "FAIL: $*" >&2
    grep -i 'level=error' "$dir/containerd.log" | tail -5 >&2 || true
    exit 1
}
# same WHAT WANT GOT
same() { [ "$2" = "$3" ] && echo "ok: $1" || fail "$1: want '$2', got '$3'"; }
has() { case $3 in *"$2"*) echo "ok: $1" ;; *) fail "$1: no '$2' in '$3'" ;; esac; }

cat >"$dir/pod.json" <<JSON
{"metadata": {"name": "pod", "namespace": "default", "uid": "uid1", "attempt": 1}, "hostname": "pod-name", "log_directory": "$dir/logs",
 "dns_config": {"servers": ["10.231.90.1"], "searches": ["test.invalid"]}, "linux": {"security_context": {"namespace_options": {"pid": 1}}}}
JSON
# container NAME COMMAND [PIDS]: PIDS is CRI's NamespaceMode, 1 its own and 0 the pod's.
container() {
    cat >"$dir/$1.json" <<JSON
{"metadata": {"name": "$1"}, "image": {"image": "localhost/pod:1"}, "command": ["/bin/sh", "-c", "$2"], "log_path": "$1.log",
 "mounts": [{"host_path": "$dir/volume", "container_path": "/data"}], "linux": {"resources": {"memory_limit_in_bytes": 67108864}, "security_context": {"namespace_options": {"pid": ${3-1}}}}}
JSON
    cri create "$pod" "$dir/$1.json" "$dir/pod.json"
}

echo "from the host" >"$dir/volume/in"
start=$(date +%s%N)
pod=$(cri runp --runtime bulkhead-vm "$dir/pod.json") || fail "runp: $(tail -3 "$dir/containerd.log")"
echo "ok: a pod sandbox in $((($(date +%s%N) - start) / 1000000)) ms"
start=$(date +%s%N)
a=$(container server 'echo page >/tmp/index.html; echo started; exec httpd -f -p 8080 -h /tmp') || fail "create: $(tail -3 "$dir/containerd.log")"
cri start "$a" >/dev/null || fail "start: $(tail -3 "$dir/containerd.log")"
echo "ok: a container in it in $((($(date +%s%N) - start) / 1000000)) ms"
b=$(container client 'echo of client; sleep 10000')
cri start "$b" >/dev/null

same "one kernel" "$(cri exec "$a" cat /proc/sys/kernel/random/boot_id)" "$(cri exec "$b" cat /proc/sys/kernel/random/boot_id)"
[ "$(cri exec "$a" cat /proc/sys/kernel/random/boot_id)" != "$(cat /proc/sys/kernel/random/boot_id)" ] || fail "that kernel is the host's"
same "one name" pod-name "$(cri exec "$b" hostname)"
same "one loopback" page "$(cri exec "$b" wget -q -O - http://127.0.0.1:8080/index.html)"
ip=$(cri inspectp "$pod" | sed -n 's/.*"ip": "\([0-9.]*\)".*/\1/p' | head -1)
same "the pod's address" page "$(timeout 20 busybox wget -q -O - "http://$ip:8080/index.html")"
has "its name server" 10.231.90.1 "$(cri exec "$b" cat /etc/resolv.conf)"
cri exec "$a" sh -c 'echo note >/dev/shm/note; echo mine >/tmp/mine; echo from server >/data/out'
same "shared memory" note "$(cri exec "$b" cat /dev/shm/note)"
same "a volume, from the host" "from the host" "$(cri exec "$b" cat /data/in)"
same "a volume, from another container" "from server" "$(cri exec "$b" cat /data/out)"
same "a volume, to the host" "from server" "$(cat "$dir/volume/out")"
cri exec "$b" ls /tmp/mine >/dev/null 2>&1 && fail "one container sees the other's root"
echo "ok: roots of their own"
case $(cri exec "$b" ps) in *httpd*) fail "one container sees the other's processes" ;; esac
echo "ok: processes of their own"
has "logs" "started" "$(cri logs "$a")"
has "stats" "server" "$(cri stats -o table 2>/dev/null | cat)"
cri exec "$b" sh -c 'exit 7' >/dev/null 2>"$dir/err" || true
has "exec's exit status" 7 "$(grep -i exit "$dir/err")"

cri stop --timeout 1 "$a" >/dev/null
has "a container stopped" CONTAINER_EXITED "$(cri inspect "$a" | grep '"state"')"
same "the other goes on" alive "$(cri exec "$b" echo alive)"
cri rm "$a" >/dev/null
c=$(container again 'cat /data/in; exit 3')
cri start "$c" >/dev/null
n=0
until cri inspect "$c" | grep -q CONTAINER_EXITED || [ $n = 100 ]; do n=$((n + 1)); sleep 0.1; done
has "the next one's exit status" '"exitCode": 3' "$(cri inspect "$c" | grep exitCode)"
has "and its log" "from the host" "$(cri logs "$c")"
d=$(container together 'sleep 10000' 0)
cri start "$d" >/dev/null
has "with the pod's processes" "sleep 1000" "$(cri exec "$d" ps)"
cri stopp "$pod" >/dev/null || fail "stopp: $(tail -3 "$dir/containerd.log")"
cri rmp --force "$pod" >/dev/null || fail "rmp: $(tail -3 "$dir/containerd.log")"
left=$(ps -ef | grep -E '[q]emu-system|[v]irtiofsd|[b]ulkhead (monitor|member)|bulkhead-[v]mm' || true)
[ -z "$left" ] || fail "processes are left: $left"
left=$(find "$dir/state" -name 'control.sock' 2>/dev/null)
[ -z "$left" ] || fail "files are left: $left"
echo "ok: nothing is left"
