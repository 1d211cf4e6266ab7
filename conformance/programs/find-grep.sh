# find, grep, sed, awk, xargs over a real tree.
set -eu
die() { echo "FAIL line ${BASH_LINENO[0]}: $*" >&2; exit 1; }
want() { [ "$1" = "$2" ] || { echo "FAIL line ${BASH_LINENO[0]}: got <$1>, want <$2>" >&2; exit 1; }; }

n=$(find /usr/bin -type f | wc -l); [ "$n" -gt 100 ] || die "only $n programs"
want "$(find /usr/bin -type f -print0 | tr -dc '\0' | wc -c)" "$n"
find /usr/share /usr/lib -type f > list; [ "$(wc -l < list)" -gt 1000 ] || die "a small /usr"
want "$(find /usr/share /usr/lib -type f | md5sum)" "$(md5sum < list)"
find /usr -xdev \( -type d -o -type l \) -printf '%y' | grep -q dl || find /usr -xdev -type l | grep -q .
mkdir -p t/{a,b,c}/{1,2,3}; for d in t/*/*; do for i in 1 2 3 4 5; do echo "text $i in $d" > "$d/file$i.txt"; done; done
want "$(find t -name '*.txt' | wc -l)" 45; want "$(find t -type d | wc -l)" 13; want "$(find t -mindepth 2 -maxdepth 2 -name 2 | wc -l)" 3
want "$(find t -name 'file1.txt' -exec cat {} + | wc -l)" 9; want "$(find t -name 'file1.txt' -exec cat {} \; | wc -l)" 9
want "$(grep -rl 'text 3' t | wc -l)" 9; want "$(grep -rc . t | wc -l)" 45; want "$(grep -rhoE 'text [0-9]' t | sort | uniq -c | awk '{print $1}' | sort -u)" 9
grep -q root /etc/passwd; want "$(grep -c '' /etc/passwd)" "$(wc -l < /etc/passwd)"; if grep -q "no such text anywhere" -r t; then die "found"; fi
touch -d 2001-01-01 t/a/1/file1.txt; want "$(find t -newer t/a/1/file1.txt -name file5.txt | wc -l | tr -d ' ')" 9
find t -name '*.txt' -print0 | xargs -0 -P 4 -n 5 sed -i 's/text/TEXT/'; want "$(grep -rl TEXT t | wc -l)" 45
sed -n '2,3p;3q' /etc/passwd | wc -l | grep -qx 2; want "$(echo 2024-01-31 | sed -E 's/([0-9]+)-([0-9]+)-([0-9]+)/\3.\2.\1/')" 31.01.2024
want "$(seq 1000 | awk '{s += $1} END {print s}')" 500500; want "$(awk -F: '$3 == 0 {print $1}' /etc/passwd)" root
want "$(awk 'BEGIN {while (("echo a; echo b" | getline l) > 0) n++; print n; system("exit 3")}')" 2
find t -name 'file[1-3].txt' -delete; want "$(find t -type f | wc -l)" 18; find t -type f -size -1k -o -type f -size +0 | wc -l | grep -qx 18
find t -depth -type d -empty | grep -q . && die "an empty directory" || true
find . -perm /u+w -type f -user "$(id -un)" | grep -q . ; locate x >/dev/null 2>&1 || true
rm -r t; [ ! -e t ] || die "t is still there"
