# busybox: its shell and applets, static.
set -eu
die() { echo "FAIL line ${BASH_LINENO[0]}: $*" >&2; exit 1; }
want() { [ "$1" = "$2" ] || { echo "FAIL line ${BASH_LINENO[0]}: got <$1>, want <$2>" >&2; exit 1; }; }

bb=$(command -v busybox); mkdir bin; cp "$bb" bin/busybox; cd bin; for a in sh ls cat sed awk grep find tar gzip sort seq wc sleep ps vi md5sum sha256sum dd cut tr head tail xargs mkdir rm cp mv ln chmod stat date env nc httpd wget; do ./busybox ln -s busybox $a 2>/dev/null || true; done; cd ..
b() { PATH=$PWD/bin "$@"; }
out=$(PATH=$PWD/bin "$PWD/bin/sh" -c 'mkdir -p d/e; for i in $(seq 50); do echo $i > d/e/$i; done; find d -type f | wc -l; cat d/e/* | sort -n | tail -n 1; tar -czf t.tgz d; mkdir x; tar -xzf t.tgz -C x; ls x/d/e | wc -l; seq 100 | awk "{s+=\$1} END {print s}"; echo abc | sed s/b/X/; sleep 0.1 & wait; ps | grep -c sh; exit 4' || echo "st $?")
echo "$out" | grep -qx 50 || die "$out"; echo "$out" | grep -qx 5050 || die "$out"; echo "$out" | grep -qx aXc || die "$out"; echo "$out" | tail -1 | grep -qx "st 4" || die "$out"
want "$(b ./bin/md5sum t.tgz | cut -c1-32)" "$(md5sum t.tgz | cut -c1-32)"; want "$(echo x | b ./bin/busybox rev 2>/dev/null || echo x)" x
want "$(./bin/busybox sh -c 'trap "echo t" TERM; kill $$; echo e' | tr '\n' ' ')" "t e "
mkdir www; echo page > www/index.html; port=$((20000 + RANDOM % 20000)); ./bin/busybox httpd -f -p 127.0.0.1:$port -h www & pid=$!; got=; for i in $(seq 60); do got=$(./bin/busybox wget -q -O - http://127.0.0.1:$port/ 2>/dev/null) && break; sleep 0.05; done; kill $pid; wait $pid 2>/dev/null || true; want "$got" page
