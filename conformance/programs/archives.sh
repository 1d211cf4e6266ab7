# tar, gzip, bzip2, xz, zstd, cpio: round trips of a tree with links, modes and sparse files.
set -eu
die() { echo "FAIL line ${BASH_LINENO[0]}: $*" >&2; exit 1; }
want() { [ "$1" = "$2" ] || { echo "FAIL line ${BASH_LINENO[0]}: got <$1>, want <$2>" >&2; exit 1; }; }

mkdir -p src/dir/sub; seq 50000 > src/numbers; head -c 300000 /dev/urandom > src/noise; echo x > src/dir/sub/x; ln -s ../numbers src/dir/link; ln src/numbers src/dir/hard
chmod 0640 src/dir/sub/x; chmod 0700 src/dir/sub; mkfifo src/fifo; truncate -s 20M src/sparse; echo end >> src/sparse; touch -d '2001-01-01 UTC' src/noise
same() { diff -r --no-dereference src/dir "$1/src/dir" && cmp src/noise "$1/src/noise" && cmp src/sparse "$1/src/sparse" && [ -p "$1/src/fifo" ] && want "$(stat -c '%a %Y' "$1/src/dir/sub/x")" "$(stat -c '%a %Y' src/dir/sub/x)" && want "$(stat -c %h "$1/src/numbers")" 2 && want "$(stat -c %Y "$1/src/noise")" 978307200; }
for z in "" -z -J; do rm -rf out; mkdir out; tar -c $z -S -f a.tar src; tar -x -S -f a.tar -C out; same out; done
if command -v bzip2 >/dev/null; then rm -rf out; mkdir out; tar -cjSf a.tbz src; tar -xjf a.tbz -C out; same out; fi
rm -rf out; mkdir out; tar -C . -cf - src | (cd out && tar -xf -); same out
rm -rf out; mkdir out; (find src | cpio -o -H newc --quiet > a.cpio) 2>/dev/null && { (cd out && cpio -i -d -m --quiet < ../a.cpio); cmp src/noise out/src/noise; }
want "$(tar -tf a.tar | wc -l)" 10; tar --list -f a.tar | grep -qx src/dir/sub/x; tar -xOf a.tar src/dir/sub/x | grep -qx x
gzip -c src/numbers > src/numbers.gz; want "$(zcat src/numbers.gz | md5sum)" "$(md5sum < src/numbers)"; gzip -t src/numbers.gz; gunzip -c src/numbers.gz | cmp - src/numbers
xz -c -T2 src/numbers > src/numbers.xz; xz -t src/numbers.xz; want "$(xz -dc src/numbers.xz | wc -l)" 50000
head -c 100 src/numbers.gz > cut.gz; if gzip -t cut.gz 2>/dev/null; then die "a cut file passed"; fi
tar -cf inc.tar --listed-incremental=snap src; echo new > src/new; tar -cf inc2.tar --listed-incremental=snap src; tar -tf inc2.tar | grep -q src/new; tar -tf inc2.tar | grep -q numbers.xz && die "too much" || true
tar -cf ex.tar --exclude='*.gz' --exclude=sparse src; tar -tf ex.tar | grep -q gz && die "excluded file" || true
for i in 1 2 3 4; do gzip -c src/noise | gunzip -c | cmp - src/noise & done; wait
