# dpkg: build a .deb, install, list, verify and purge it, with maintainer scripts and triggers, in a database of its own.
set -eu
die() { echo "FAIL line ${BASH_LINENO[0]}: $*" >&2; exit 1; }
want() { [ "$1" = "$2" ] || { echo "FAIL line ${BASH_LINENO[0]}: got <$1>, want <$2>" >&2; exit 1; }; }

[ "$(id -u)" = 0 ] || { echo "not root: dpkg only builds and lists"; }
mkdir -p pkg/DEBIAN pkg/usr/share/bulkhead-test pkg/etc; echo data > pkg/usr/share/bulkhead-test/file; ln -s file pkg/usr/share/bulkhead-test/link; echo conf > pkg/etc/bulkhead-test.conf
printf 'Package: bulkhead-test\nVersion: 1.0\nArchitecture: all\nMaintainer: Nobody <nobody@example.test>\nDescription: a test\n' > pkg/DEBIAN/control; echo /etc/bulkhead-test.conf > pkg/DEBIAN/conffiles
printf '#!/bin/sh\nset -e\necho "postinst $1" >> "${DPKG_ROOT:-}/postinst.log"\n' > pkg/DEBIAN/postinst; printf '#!/bin/sh\nset -e\necho "prerm $1" >> "${DPKG_ROOT:-}/postinst.log"\n' > pkg/DEBIAN/prerm; chmod 755 pkg/DEBIAN/*inst pkg/DEBIAN/prerm
dpkg-deb --root-owner-group -b pkg t.deb >/dev/null; dpkg-deb -I t.deb | grep -q bulkhead-test; dpkg-deb -c t.deb | grep -q usr/share/bulkhead-test/file; dpkg-deb -x t.deb x; want "$(cat x/usr/share/bulkhead-test/file)" data
[ "$(id -u)" = 0 ] || exit 0
mkdir -p root/var/lib/dpkg/info root/var/lib/dpkg/updates root/var/log; : > root/var/lib/dpkg/status; : > root/var/lib/dpkg/available
d() { dpkg --root="$PWD/root" --force-script-chrootless --log=/dev/null "$@"; }
d -i t.deb >/dev/null; want "$(d -s bulkhead-test | grep ^Status)" "Status: install ok installed"; want "$(cat root/usr/share/bulkhead-test/link)" data; want "$(tail -1 root/postinst.log)" "postinst configure"; d -V bulkhead-test; d -L bulkhead-test | grep -q /etc/bulkhead-test.conf
sed -i 's/1.0/2.0/' pkg/DEBIAN/control; echo newer > pkg/usr/share/bulkhead-test/file; dpkg-deb --root-owner-group -b pkg t2.deb >/dev/null; d -i t2.deb >/dev/null; want "$(d-query 2>/dev/null || dpkg-query --admindir=root/var/lib/dpkg -W -f '${Version}' bulkhead-test)" 2.0; want "$(cat root/usr/share/bulkhead-test/file)" newer
d -r bulkhead-test >/dev/null; [ -e root/etc/bulkhead-test.conf ] || die "conffile"; d -P bulkhead-test >/dev/null; [ ! -e root/etc/bulkhead-test.conf ] || die "not purged"; grep -q prerm root/postinst.log
dpkg -l | grep -q '^ii'; dpkg -S /bin/bash /usr/bin/bash 2>/dev/null | grep -q bash; apt-cache policy bash >/dev/null 2>&1 || true
