#!/bin/sh
# Builds kube-apiserver from its Go module, in a module of its own outside this
# tree, once, and prints the binary's path. About ten minutes of CPU time.
. "$(dirname -- "$0")/common.sh"

bin=$LAB_CACHE/bin/kube-apiserver
stamp=$LAB_CACHE/kube-apiserver.version

if [ -x "$bin" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$kubernetes" ]; then
    echo "$bin"
    exit 0
fi
need_command go "install Go 1.26 or newer"
need_space "$LAB_CACHE" 3000

mod=$(mktemp -d "$LAB_CACHE/kubernetes-build.XXXXXX")
trap 'rm -rf "$mod"' EXIT
trap 'exit 130' INT TERM
cd "$mod"
cat >go.mod <<MOD
module lab.invalid/kubernetes

go 1.26

require k8s.io/kubernetes $kubernetes
MOD
# Kubernetes names its own parts "v0.0.0" and replaces them by directories of
# its repository; outside it they are the published modules of the same release.
theirs=$(go mod download -json "k8s.io/kubernetes@$kubernetes" | sed -n 's/^[[:space:]]*"GoMod": "\(.*\)",*$/\1/p')
[ -n "$theirs" ] || die "k8s.io/kubernetes $kubernetes could not be downloaded (no network?)"
for part in $(awk '$1 ~ /^k8s\.io\// && $2 == "v0.0.0" { print $1 }' "$theirs"); do
    go mod edit -replace "$part=$part@v0${kubernetes#v1}"
done
say "building kube-apiserver $kubernetes (about ten minutes of CPU time)"
GOFLAGS=-mod=mod CGO_ENABLED=0 nice -n 15 go build -ldflags "-s -w \
    -X k8s.io/component-base/version.gitVersion=$kubernetes \
    -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37" \
    -o "$bin.new" k8s.io/kubernetes/cmd/kube-apiserver >build.log 2>&1 ||
    { tail -5 build.log >&2; die "kube-apiserver did not build"; }
mv "$bin.new" "$bin"
printf '%s' "$kubernetes" >"$stamp"
echo "$bin"
