#!/bin/sh
# Installs the Debian packages which the lab measures or needs on the host.
# The measured programs themselves go into the root file system (rootfs.sh).
. "$(dirname -- "$0")/common.sh"

packages="runc crun debootstrap gcc libc6-dev ca-certificates"
[ "${1:-}" = containerd ] && packages="$packages prometheus curl containernetworking-plugins iptables iproute2"

missing=
for p in $packages; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true)
    [ "$status" = installed ] || missing="$missing $p"
done
if [ -z "$missing" ]; then
    say "packages: all present"
    exit 0
fi

need_root "installing$missing"
need_command apt-get "the lab installs Debian packages; on another system install:$missing"
say "installing$missing"
# A service that a package would start has no business in a measurement.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
