#!/bin/sh
# Makes the Debian root file system that every runtime runs, once, and prints
# its path. A half-made one is never mistaken for a whole one: it is built
# beside its final name and renamed when complete.
. "$(dirname -- "$0")/common.sh"

packages=sysbench,python3-minimal,fio,redis-server,redis-tools,nginx-light,wrk,gcc,libc6-dev,make,git
rootfs=$LAB_CACHE/rootfs
stamp=$LAB_CACHE/rootfs.packages

if [ -d "$rootfs" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$packages" ]; then
    echo "$rootfs"
    exit 0
fi
need_root "making a root file system"
need_command debootstrap "apt-get install debootstrap"
need_space "$LAB_CACHE" 2000

work=$(mktemp -d "$LAB_CACHE/rootfs.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
say "making a Debian root file system in $rootfs (about two minutes)"
chmod 755 "$work"
if ! debootstrap --variant=minbase --include="$packages" bookworm "$work" >"$LAB_CACHE/debootstrap.log" 2>&1; then
    tail -5 "$LAB_CACHE/debootstrap.log" >&2
    die "debootstrap failed: the whole log is $LAB_CACHE/debootstrap.log"
fi
rm -rf "$work"/var/cache/apt/archives/*.deb "$work"/var/lib/apt/lists/*
rm -rf "$rootfs"
mv "$work" "$rootfs"
printf '%s' "$packages" >"$stamp"
echo "$rootfs"
