#!/bin/sh
# Builds containerd, ctr, the runc shim and nerdctl from their Go modules, each
# in a module of its own outside this tree, once. Prints the directory.
. "$(dirname -- "$0")/common.sh"

containerd=v2.4.2
nerdctl=v2.1.3
bin=$LAB_CACHE/bin

if ! built containerd $containerd || ! built containerd-shim-runc-v2 $containerd; then
    need_command go "install Go 1.26 or newer"
    need_space "$LAB_CACHE" 3000
    say "building containerd $containerd (some minutes)"
    c=github.com/containerd/containerd/v2/cmd
    GOBIN=$bin go install $c/containerd@$containerd $c/ctr@$containerd $c/containerd-shim-runc-v2@$containerd
    for program in containerd ctr containerd-shim-runc-v2; do printf '%s' $containerd >"$LAB_CACHE/$program.version"; done
fi
if built nerdctl $nerdctl; then
    echo "$bin"
    exit 0
fi
package=github.com/containerd/nerdctl/v2/cmd/nerdctl
begin_module nerdctl github.com/containerd/nerdctl/v2 $nerdctl $package 3000
say "building nerdctl $nerdctl (some minutes)"
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
printf '\nreplace github.com/containerd/nerdctl/mod/tigron => ./tigron\n' >>go.mod
tidy_module -e
build_program nerdctl $nerdctl $package
echo "$bin"
