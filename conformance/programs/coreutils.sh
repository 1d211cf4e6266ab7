# coreutils: files, links, dates, sums, sorting, splitting, times.
set -eu
die() { echo "FAIL line ${BASH_LINENO[0]}: $*" >&2; exit 1; }
want() { [ "$1" = "$2" ] || { echo "FAIL line ${BASH_LINENO[0]}: got <$1>, want <$2>" >&2; exit 1; }; }

mkdir -p a/b/c; echo hello > a/b/c/f; printf '%s\n' 3 1 2 > nums
want "$(cat a/b/c/f)" hello
cp -a a copy; diff -r a copy; want "$(stat -c %s copy/b/c/f)" 6
ln a/b/c/f hard; want "$(stat -c %h hard)" 2; ln -s a/b soft; want "$(readlink soft)" a/b; want "$(realpath soft)" "$PWD/a/b"
mv copy moved; [ ! -e copy ] || die "copy is still there"
cp -r --reflink=auto moved m2; cp --sparse=always /dev/null empty; install -m 0750 -D nums deep/er/nums; want "$(stat -c %a deep/er/nums)" 750
rm -r moved m2; rmdir -p deep/er 2>/dev/null || true; rm -rf deep
want "$(sort -n nums | tr '\n' ' ')" "1 2 3 "; want "$(sort -rn nums | head -1)" 3; want "$(shuf nums | sort | md5sum)" "$(sort nums | md5sum)"
seq 200000 > big; want "$(wc -l < big)" 200000; want "$(sort -R big | sort -n | md5sum)" "$(md5sum < big)"
sort --parallel=2 -S 1M big -o sorted; want "$(tail -1 sorted)" 99999
split -l 50000 big part.; want "$(ls part.* | wc -l)" 4; cat part.* | cmp - big
want "$(cut -d: -f1 /etc/passwd | head -1)" root; want "$(paste nums nums | head -1)" $'3\t3'
want "$(printf 'a b\nc d\n' | awk '{print $2}' | tr '\n' ' ')" "b d "; want "$(echo abc | rev)" cba; want "$(echo a.b.c | tr . -)" a-b-c
want "$(sha256sum nums | cut -c1-8)" "$(openssl dgst -sha256 -r nums | cut -c1-8)"
want "$(echo -n foobar | base64)" Zm9vYmFy; want "$(echo Zm9vYmFy | base64 -d)" foobar; want "$(printf %08.3f 3.14159)" 0003.142
touch -d '2020-02-02 02:02:02 UTC' old; want "$(TZ=UTC date -r old +%F_%T)" 2020-02-02_02:02:02; [ nums -nt old ] || die "times"
want "$(TZ=UTC date -d @86400 +%F)" 1970-01-02
dd if=/dev/zero of=z bs=64k count=16 status=none; want "$(stat -c %s z)" 1048576; truncate -s 10M z; want "$(stat -c %s z)" 10485760
dd if=big of=part bs=1 skip=10 count=20 status=none; want "$(stat -c %s part)" 20; echo tail | dd of=z bs=1 seek=100 conv=notrunc,fsync status=none; want "$(stat -c %s z)" 10485760
chmod u=rw,go= nums; want "$(stat -c %A nums)" -rw-------; chmod -R a+rX a; [ "$(id -u)" != 0 ] || { chown 1234:4321 nums; want "$(stat -c %u:%g nums)" 1234:4321; }
want "$(ls -1 a)" b
du -s a >/dev/null; df . >/dev/null; want "$(basename /x/y.z .z) $(dirname /x/y)" "y /x"
want "$(tee t1 < nums | wc -l)" 3; cmp t1 nums; want "$(comm -12 <(sort nums) <(sort t1) | wc -l)" 3; want "$(uniq -c <(printf 'a\na\nb\n') | awk '{print $1}' | tr '\n' ' ')" "2 1 "
(tail -f follow0 2>/dev/null || true) & kill $! 2>/dev/null; touch log; (tail -n +1 -f log > seen & p=$!; echo line1 >> log; for i in $(seq 100); do grep -q line1 seen && break; sleep 0.05; done; echo line2 >> log; for i in $(seq 100); do grep -q line2 seen && break; sleep 0.05; done; kill $p); want "$(wc -l < seen)" 2
want "$(nproc)" "$(nproc)"; uname -a | grep -q Linux; want "$(env -i A=1 env)" A=1; want "$(nice -n 3 nice)" "$(($(nice) + 3 > 19 ? 19 : $(nice) + 3))"; want "$(id -u)" "$(id -ru)"; whoami >/dev/null; hostname >/dev/null; uptime >/dev/null 2>&1 || true; sleep 0.01
t=$(mktemp -d ./tmp.XXXX); [ -d "$t" ] || die mktemp; stat -f -c %T . >/dev/null; want "$(expr 6 \* 7)" 42; want "$(factor 97)" "97: 97"; numfmt --to=iec 1048576 | grep -qx 1.0M
yes | head -n 1000 | wc -l | grep -qx 1000; want "$(od -An -tx1 <<< A)" " 41 0a"; want "$(fold -w 2 <<< abcd | wc -l)" 2; want "$(tac nums | head -1)" 2; want "$(nl nums | tail -1 | awk '{print $1}')" 3; join <(echo 1 a) <(echo 1 b) | grep -qx '1 a b'
flock lock -c 'echo locked' | grep -qx locked; (flock 9; sleep 0.3) 9>lock & sleep 0.1; if flock -n lock true; then die "the lock was free"; fi; wait
