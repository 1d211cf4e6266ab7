#!/bin/sh
# Builds gVisor's runsc from its Go module, in a module of its own outside this
# tree, once, and prints the binary's path.
. "$(dirname -- "$0")/common.sh"

version=v0.0.0-20260905035102-160fafc42237
bin=$LAB_CACHE/bin/runsc
stamp=$LAB_CACHE/runsc.version

if [ -x "$bin" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$version" ]; then
    echo "$bin"
    exit 0
fi
need_command go "install Go 1.26 or newer"
need_space "$LAB_CACHE" 1500

mod=$(mktemp -d "$LAB_CACHE/runsc-build.XXXXXX")
trap 'rm -rf "$mod"' EXIT
trap 'exit 130' INT TERM
cd "$mod"
cat >go.mod <<MOD
module lab.invalid/runsc

go 1.26

require gvisor.dev/gvisor $version
MOD
cat >tools.go <<'GO'
//go:build tools

package tools

import _ "gvisor.dev/gvisor/runsc"
GO
say "building runsc $version (one to three minutes)"
go mod tidy >build.log 2>&1 || { tail -5 build.log >&2; die "runsc's module could not be resolved (no network?)"; }
CGO_ENABLED=0 go build -ldflags "-X gvisor.dev/gvisor/runsc/version.version=$version" -o "$bin.new" gvisor.dev/gvisor/runsc >build.log 2>&1 || { tail -5 build.log >&2; die "runsc did not build"; }
mv "$bin.new" "$bin"
printf '%s' "$version" >"$stamp"
echo "$bin"
