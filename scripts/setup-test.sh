#!/bin/sh
# setup-test.sh: installs what the tests need and is missing. Debian, root; an
# ordinary user is told what to install.
set -eu
need='' PATH=$PATH:/usr/sbin:/sbin
for pair in gcc:gcc make:make git:git busybox:busybox-static python3:python3 perl:perl node:nodejs openssl:openssl \
	xz:xz-utils gzip:gzip find:findutils file:file ip:iproute2 setpriv:util-linux bc:bc \
	sqlite3:sqlite3 curl:curl jq:jq zstd:zstd rsync:rsync ruby:ruby ssh-keygen:openssh-client tmux:tmux screen:screen \
	redis-server:redis-server nginx:nginx-light; do
	cmd=${pair%%:*} pkg=${pair#*:}
	command -v "$cmd" >/dev/null 2>&1 || need="$need $pkg"
done
[ -e /usr/include/stdio.h ] || need="$need libc6-dev"
[ -x /usr/bin/python3 ] || need="$need python3"
[ -e /usr/lib/python3/dist-packages ] || need="$need python3"
# For the VM wall: where they may not be installed its tests are skipped.
if [ "$(id -u)" = 0 ] && [ "$(uname -m)" = x86_64 ]; then
	[ -e /usr/bin/qemu-system-x86_64 ] || need="$need qemu-system-x86"
	[ -e /usr/lib/qemu/virtiofsd ] || need="$need qemu-system-common"
	[ -e /usr/bin/mkfs.erofs ] || need="$need erofs-utils"
	[ -e /usr/bin/mksquashfs ] || need="$need squashfs-tools"
	ls /boot/vmlinuz-* >/dev/null 2>&1 || need="$need linux-image-cloud-amd64"
fi
[ -z "$need" ] && exit 0
if [ "$(id -u)" != 0 ]; then
	echo "Missing for the tests:$need. Install them as root: apt-get install$need" >&2
	exit 1
fi
echo "Installing for the tests:$need"
export DEBIAN_FRONTEND=noninteractive
# Servers are for the tests to start: none runs because it was installed.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	trap 'rm -f $policy' EXIT
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends $need >/dev/null
