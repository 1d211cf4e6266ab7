#!/bin/sh
# Builds kube-apiserver from its Go module, in a module of its own outside this
# tree, once, and prints the binary's path. About ten minutes of CPU time.
. "$(dirname -- "$0")/common.sh"

if built kube-apiserver $kubernetes; then
    echo "$LAB_CACHE/bin/kube-apiserver"
    exit 0
fi
package=k8s.io/kubernetes/cmd/kube-apiserver
begin_module kubernetes k8s.io/kubernetes $kubernetes $package 3000
# Kubernetes names its own parts "v0.0.0" and replaces them by directories of
# its repository; outside it they are the published modules of the same release.
theirs=$(go mod download -json "k8s.io/kubernetes@$kubernetes" | sed -n 's/^[[:space:]]*"GoMod": "\(.*\)",*$/\1/p')
[ -n "$theirs" ] || die "k8s.io/kubernetes $kubernetes could not be downloaded (no network?)"
for part in $(awk '$1 ~ /^k8s\.io\// && $2 == "v0.0.0" { print $1 }' "$theirs"); do
    go mod edit -replace "$part=$part@v0${kubernetes#v1}"
done
say "building kube-apiserver $kubernetes (about ten minutes of CPU time)"
export GOFLAGS=-mod=mod
build_program kube-apiserver $kubernetes $package -ldflags "-s -w \
    -X k8s.io/component-base/version.gitVersion=$kubernetes \
    -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37"
echo "$LAB_CACHE/bin/kube-apiserver"
