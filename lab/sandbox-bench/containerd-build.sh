#!/bin/sh
# Builds containerd, ctr, the runc shim and nerdctl from their Go modules, each
# in a module of its own outside this tree, once. Prints the directory.
. "$(dirname -- "$0")/common.sh"

containerd=v2.4.2
nerdctl=v2.1.3
bin=$LAB_CACHE/bin
stamp=$LAB_CACHE/containerd.version

if [ "$(cat "$stamp" 2>/dev/null)" = "$containerd $nerdctl" ]; then
    echo "$bin"
    exit 0
fi
need_command go "install Go 1.26 or newer"
need_space "$LAB_CACHE" 3000

say "building containerd $containerd (some minutes)"
c=github.com/containerd/containerd/v2/cmd
GOBIN=$bin go install $c/containerd@$containerd $c/ctr@$containerd $c/containerd-shim-runc-v2@$containerd

say "building nerdctl $nerdctl (some minutes)"
mod=$(mktemp -d "$LAB_CACHE/nerdctl-build.XXXXXX")
trap 'rm -rf "$mod"' EXIT
trap 'exit 130' INT TERM
cd "$mod"
# nerdctl's test library is a module that is not published; of it the program
# mentions one type, which this stands in for.
mkdir -p tigron/tig
printf 'module github.com/containerd/nerdctl/mod/tigron\n\ngo 1.24\n' >tigron/go.mod
cat >tigron/tig/tig.go <<'GO'
package tig

type T interface {
	Helper()
	Log(args ...any)
	Fail()
	FailNow()
	Name() string
	TempDir() string
}
GO
cat >go.mod <<MOD
module lab.invalid/nerdctl

go 1.26

require github.com/containerd/nerdctl/v2 $nerdctl

replace github.com/containerd/nerdctl/mod/tigron => ./tigron
MOD
cat >tools.go <<'GO'
//go:build tools

package tools

import _ "github.com/containerd/nerdctl/v2/cmd/nerdctl"
GO
go mod tidy -e >build.log 2>&1 || { tail -5 build.log >&2; die "nerdctl's module could not be resolved"; }
CGO_ENABLED=0 go build -o "$bin/nerdctl.new" github.com/containerd/nerdctl/v2/cmd/nerdctl >build.log 2>&1 ||
    { tail -5 build.log >&2; die "nerdctl did not build"; }
mv "$bin/nerdctl.new" "$bin/nerdctl"
printf '%s' "$containerd $nerdctl" >"$stamp"
echo "$bin"
