#!/bin/bash
# soak.sh [MINUTES]: sandboxes of every kind, several at a time, over and over; then one that stays, with programs
# coming and going in it. Each run checks its answer. At the end nothing may be left, and the Sentry that stayed may
# not have grown. Root or not.
set -u
cd "$(dirname "$0")/.."
minutes=${1:-5}
bin=$PWD/bin/bulkhead
[ -x "$bin" ] || { echo "soak: $bin is missing: run make build" >&2; exit 1; }
# As root in namespaces of its own: what is counted is nobody else's, and all of it ends with them.
if [ "$(id -u)" = 0 ] && [ -z "${SOAK_INSIDE:-}" ]; then
	SOAK_INSIDE=1 exec unshare --mount --propagation private --pid --fork --kill-child --mount-proc "scripts/soak.sh" "$@"
fi
end=$(($(date +%s) + minutes * 60))
dir=$(mktemp -d /var/tmp/bulkhead-soak.XXXXXX)
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
failed=$dir/failed

# All processes of the namespace but this shell and ps; for an ordinary user those that look like a sandbox's.
processes() {
	local mine=.
	[ -n "${SOAK_INSIDE:-}" ] || mine='bulkhead|\[[0-9]+\]'
	ps -eo pid,args --no-headers > "$dir/ps"
	grep -vE "^ *$$ |ps -eo pid,args" "$dir/ps" | grep -E "$mine" | sed 's/^/process /'
}
mounts() { sed 's/^/mount /' /proc/self/mountinfo; }
cgroups() { find /sys/fs/cgroup -maxdepth 4 -type d -name '*bulkhead*' 2>/dev/null | sort; }
left_over() { processes; mounts; cgroups; }
left_over > "$dir/before"

want() { # want NAME EXPECTED COMMAND…
	local name=$1 expected=$2 got err=$dir/err.$BASHPID
	shift 2
	got=$(timeout 280 "$bin" do --memory 512M --pids 200 --timeout 270s -- "$@" 2> "$err")
	if [ "$got" != "$expected" ]; then
		echo "$name: got '$got', want '$expected'; $(tail -c 300 "$err")" | tee -a "$failed" >&2
	fi
	rm -f "$err"
}
one() {
	case $((RANDOM % 6)) in
	0) want forks 200 sh -c 'i=0; while [ $i -lt 200 ]; do /bin/true && i=$((i+1)); done; echo $i' ;;
	1) want pipeline 5000 sh -c 'seq 1 5000 | sort -r | sort -n | wc -l' ;;
	2) want python 332833500 python3 -c 'print(sum(i*i for i in range(1000)))' ;;
	3) want threads 40 python3 -c 'import threading
l = []; ts = [threading.Thread(target=l.append, args=(1,)) for _ in range(40)]
[t.start() for t in ts]; [t.join() for t in ts]; print(len(l))' ;;
	4) want files 300 sh -c 'mkdir /tmp/d && cd /tmp/d && for i in $(seq 300); do echo $i > f$i; done; ls | wc -l' ;;
	5) want killed '' sh -c 'sleep 100 & kill -9 $$' ;;
	esac
}
runs=0
while [ "$(date +%s)" -lt "$end" ] && [ ! -s "$failed" ]; do
	for _ in 1 2 3 4; do one & done
	wait
	runs=$((runs + 4))
	printf '\r%d sandboxes ' "$runs" >&2
done

# One that stays: its Sentry's memory and descriptors before and behind 2,000 programs.
"$bin" do -- sh -c '
	for i in $(seq 200); do /bin/true; done
	grep VmRSS /proc/self/status > /dev/null; echo ready; read go
	for i in $(seq 2000); do /bin/true; done
	echo done; read go' < <(while [ ! -e "$dir/next1" ]; do sleep 0.1; done; echo; while [ ! -e "$dir/next2" ]; do sleep 0.1; done; echo) > "$dir/out" 2> "$dir/err" &
stayer=$!
until_line() { for _ in $(seq 1200); do grep -q "$1" "$dir/out" && return; sleep 0.1; done; echo "no '$1': $(tail -c 300 "$dir/err")" | tee -a "$failed" >&2; }
sentry() { pgrep -P "$stayer" -f '^bulkhead sentry' || pgrep -n -f '^bulkhead sentry'; }
state() { awk '/^VmRSS/ {print $2}' "/proc/$1/status"; }
fds() { ls "/proc/$1/fd" | wc -l; }
until_line ready
s=$(sentry)
rss1=$(state "$s") fds1=$(fds "$s")
touch "$dir/next1"
until_line done
rss2=$(state "$s") fds2=$(fds "$s")
touch "$dir/next2"
wait "$stayer"
echo "behind 2,000 programs: Sentry $rss1 -> $rss2 kB, $fds1 -> $fds2 descriptors"
[ "$rss2" -le $((rss1 + 8192)) ] || echo "the Sentry grew from $rss1 to $rss2 kB" | tee -a "$failed" >&2
[ "$fds2" -le $((fds1 + 8)) ] || echo "descriptors grew from $fds1 to $fds2" | tee -a "$failed" >&2

# The kernel and a monitor may need a moment; others' cgroups may come and go meanwhile, and are no trace of this.
for _ in $(seq 100); do
	left_over > "$dir/after"
	new=$(grep -vxFf "$dir/before" "$dir/after" || true)
	[ -z "$new" ] && break
	sleep 0.1
done
[ -z "$new" ] || echo "left over: $new" | tee -a "$failed" >&2
if [ -s "$failed" ]; then
	echo "FAIL: soak"
	exit 1
fi
echo "ok: $runs sandboxes in $minutes minutes, nothing left over"
