# apt: a repository of local packages: update, search, show, install with a dependency, upgrade, install of a .deb, remove.
set -eu
die() { echo "FAIL line ${BASH_LINENO[0]}: $*" >&2; exit 1; }
want() { [ "$1" = "$2" ] || { echo "FAIL line ${BASH_LINENO[0]}: got <$1>, want <$2>" >&2; exit 1; }; }
[ "$(id -u)" = 0 ] || { echo "not root: apt installs nothing"; exit 0; }

chmod 755 .; mkdir -p repo root/var/lib/dpkg/{info,updates,triggers} root/var/log state/lists/partial cache/archives/partial etc/{apt.conf.d,preferences.d,trusted.gpg.d,sources.list.d} log
: > root/var/lib/dpkg/status; : > root/var/lib/dpkg/available
deb() { # name version depends
	rm -rf "b-$1"; mkdir -p "b-$1/DEBIAN" "b-$1/usr/share/$1"; echo "$1 $2" > "b-$1/usr/share/$1/version"
	printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: Nobody <nobody@example.test>\n%sDescription: test package %s\n' "$1" "$2" "${3:+Depends: $3
}" "$1" > "b-$1/DEBIAN/control"
	printf '#!/bin/sh\necho "postinst %s $1 $2" >> "$DPKG_ROOT/scripts.log"\n' "$1" > "b-$1/DEBIAN/postinst"; chmod 755 "b-$1/DEBIAN/postinst"
	dpkg-deb --root-owner-group -b "b-$1" "$4/$1_$2_all.deb" >/dev/null
}
index() { (cd repo; : > Packages; for f in *.deb; do dpkg-deb -f "$f"; printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$f" "$(stat -c %s "$f")" "$(sha256sum < "$f" | cut -d' ' -f1)"; done > Packages; gzip -kf Packages
	printf 'Origin: test\nSuite: test\nDate: %s\nSHA256:\n' "$(LC_ALL=C date -Ru)" > Release; for f in Packages Packages.gz; do printf ' %s %s %s\n' "$(sha256sum < $f | cut -d' ' -f1)" "$(stat -c %s $f)" $f >> Release; done); }
a() { apt-get -q -y -o Dir="$PWD/" -o Dir::Etc="$PWD/etc" -o Dir::Etc::sourcelist="$PWD/etc/sources.list" -o Dir::State="$PWD/state" -o Dir::State::status="$PWD/root/var/lib/dpkg/status" -o Dir::Cache="$PWD/cache" -o Dir::Log="$PWD/log" \
	-o APT::Sandbox::User="$user" -o DPkg::Options::="--root=$PWD/root" -o DPkg::Options::=--force-script-chrootless -o DPkg::Options::=--log=/dev/null -o Dpkg::Use-Pty="${pty:-1}" "$@"; }
user=root; deb base 1.0 "" repo; deb tool 1.0 "base (>= 1.0)" repo; deb local 3 base .; index
echo "deb [trusted=yes] copy:$PWD/repo ./" > etc/sources.list; a update > update.log 2>&1 || die "$(cat update.log)"; grep -q "Reading package lists" update.log
sed -i s/copy:/file:/ etc/sources.list; a update > update.log 2>&1 || die "$(cat update.log)"
APT_CONFIG=/dev/null apt-cache -o Dir::State="$PWD/state" -o Dir::Etc="$PWD/etc" -o Dir::Cache="$PWD/cache" -o Dir::State::status="$PWD/root/var/lib/dpkg/status" policy tool | grep -q "Candidate: 1.0" || die policy
v() { dpkg-query --admindir=root/var/lib/dpkg -W -f '${Status} ${Version}' "$1" 2>/dev/null || true; }
a install tool > install.log 2>&1 || die "$(cat install.log)"; want "$(v tool)" "install ok installed 1.0"; want "$(v base)" "install ok installed 1.0"; want "$(cat root/usr/share/tool/version)" "tool 1.0"; want "$(grep -c ^postinst root/scripts.log)" 2
deb base 2.0 "" repo; deb tool 2.0 "base (>= 2.0)" repo; rm repo/*_1.0_*; index; pty=0; a update > update.log 2>&1 || die "$(cat update.log)"; a dist-upgrade > upgrade.log 2>&1 || die "$(cat upgrade.log)"; want "$(v tool) $(v base)" "install ok installed 2.0 install ok installed 2.0"; grep -q "postinst base configure 1.0" root/scripts.log || die "old version"
a install ./local_3_all.deb > local.log 2>&1 || die "$(cat local.log)"; want "$(v local)" "install ok installed 3"; grep -q "Setting up local" local.log
a install nosuchthing > /dev/null 2>&1 && die "installed what is not there" || want $? 100
a remove base > remove.log 2>&1 || die "$(cat remove.log)"; for p in base tool local; do case $(v $p) in '' | deinstall*) ;; *) die "$p: $(v $p)" ;; esac; done; [ ! -e root/usr/share/tool ] || die "files left"
a check; a clean; a -s install tool | grep -q "Inst tool"
# The methods drop to another user where there is one.
if id _apt >/dev/null 2>&1 && runuser -u _apt -- test -r "$PWD/repo/Packages" 2>/dev/null; then user=_apt; chown _apt state/lists/partial cache/archives/partial; a update > update.log 2>&1 || die "$(cat update.log)"; a install tool > install.log 2>&1 || die "$(cat install.log)"; want "$(v tool)" "install ok installed 2.0"; fi
