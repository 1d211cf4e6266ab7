#!/bin/sh
# Makes a container image (docker-archive) of a root file system, without a
# daemon or a registry. Usage: image.sh ROOTFS NAME FILE
. "$(dirname -- "$0")/common.sh"

[ $# = 3 ] || die "usage: image.sh ROOTFS NAME FILE"
rootfs=$1 name=$2 file=$3
[ -d "$rootfs/usr" ] || die "$rootfs is not a root file system: rootfs.sh makes one"
need_space "$(dirname -- "$file")" 2000

work=$(mktemp -d "$(dirname -- "$file")/image.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
tar -C "$rootfs" --numeric-owner --sort=name -cf "$work/layer.tar" .
layer=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)
cat >"$work/config.json" <<JSON
{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Cmd":["/bin/sh"]},
 "rootfs":{"type":"layers","diff_ids":["sha256:$layer"]},"history":[{"created_by":"debootstrap"}]}
JSON
printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$name" >"$work/manifest.json"
tar -C "$work" -cf "$file.new" manifest.json config.json layer.tar
mv "$file.new" "$file"
