#!/bin/sh
# Builds gVisor's runsc from its Go module, in a module of its own outside this
# tree, once, and prints the binary's path.
. "$(dirname -- "$0")/common.sh"

version=v0.0.0-20260905035102-160fafc42237
package=gvisor.dev/gvisor/runsc

if ! built runsc $version; then
    begin_module runsc gvisor.dev/gvisor $version $package 1500
    say "building runsc $version (one to three minutes)"
    tidy_module
    build_program runsc $version $package -ldflags "-X $package/version.version=$version"
fi
echo "$LAB_CACHE/bin/runsc"
