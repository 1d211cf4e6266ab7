#!/bin/sh
# Installs Debian's etcd-server, the API server's store, without starting it.
. "$(dirname -- "$0")/common.sh"

if command -v etcd >/dev/null; then
    exit 0
fi
need_root "installing etcd-server"
need_command apt-get "the trial installs Debian's etcd-server; on another system install etcd 3.4 or newer"
say "installing etcd-server"
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then # a store that the package starts has no business here
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends etcd-server >/dev/null
