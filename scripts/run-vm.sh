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
show '1. echo, in a VM that boots the distribution'"'"'s kernel' $B do --wall=vm --no-template -- echo '  hello'
show '2. the same from a template, which is made now unless it is there' $B do --wall=vm -- echo '  hello'
show '3. the same again, from the template' $B do --wall=vm -- echo '  hello'
show '4. find /usr/bin -type f' $B do --wall=vm -- sh -c 'find /usr/bin -type f | wc -l | sed "s/^/  files seen: /"'
[ -x /usr/bin/python3 ] && show '5. a python3 program' $B do --wall=vm -- /usr/bin/python3 -c '
import os, platform
print("  kernel:", platform.release(), " pid:", os.getpid(), " uid:", os.getuid(), " CPUs:", os.cpu_count())
open("/etc/written-inside", "w").write("only in the VM")
'
host_untouched 'the VM'
exit $rc
