#!/bin/bash
# run-vm.sh: shows the VM wall: programs of this machine in a micro-VM each,
# with the host's root read-only under an overlay in the guest's memory. On
# Debian it installs what is missing (as root).
. "$(dirname "$0")/show.sh"
need=
command -v qemu-system-x86_64 >/dev/null || need="$need qemu-system-x86"
[ -x /usr/lib/qemu/virtiofsd ] || [ -x /usr/libexec/virtiofsd ] || need="$need qemu-system-common"
command -v mkfs.erofs >/dev/null || need="$need erofs-utils"
ls /boot/vmlinuz-* >/dev/null 2>&1 || need="$need linux-image-cloud-amd64"
if [ -n "$need" ]; then
	if [ "$(id -u)" != 0 ] || [ ! -e /etc/debian_version ]; then
		echo "Missing for the VM wall:$need. Install them first (Debian: apt-get install --no-install-recommends$need)" >&2
		exit 1
	fi
	echo "Installing:$need"
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq && apt-get install -y -qq --no-install-recommends $need >/dev/null || exit 1
fi
show '1. echo, in a VM that boots the distribution'"'"'s kernel over the host'"'"'s root' $B do --wall=vm -- echo '  hello'
# A machine that shares files with the host always boots; one whose root is an
# image can be a clone. The image is of a shell and its libraries.
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
for f in /bin/sh $(ldd /bin/sh | grep -o '/[^ ]*'); do cp -L --parents "$f" "$root"; done
mkdir -p "$root"/proc "$root"/sys "$root"/dev "$root"/tmp
hello() { show "$1" $B do --wall=vm --root-dir "$root" -- /bin/sh -c 'echo "  hello"'; }
hello '2. the same with a root directory, from a template, which is made now unless it is there'
hello '3. again, from the template'
hello '4. again: from the second time on the container is prepared in it too'
show '5. find /usr/bin -type f' $B do --wall=vm -- sh -c 'find /usr/bin -type f | wc -l | sed "s/^/  files seen: /"'
[ -x /usr/bin/python3 ] && show '6. a python3 program' $B do --wall=vm -- /usr/bin/python3 -c '
import os, platform
print("  kernel:", platform.release(), " pid:", os.getpid(), " uid:", os.getuid(), " CPUs:", os.cpu_count())
open("/etc/written-inside", "w").write("only in the VM")
'
host_untouched 'the VM'
exit $rc
