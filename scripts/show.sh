# Shared by run.sh and run-vm.sh: a titled, timed command, and whether one that
# was to stay inside has written to the host. Sourced, never run; rc is what the
# script exits with.
set -u
cd "$(dirname "$0")/.."
B=bin/bulkhead
rc=0
bold= off=
[ -t 1 ] && bold=$'\e[1m' off=$'\e[0m'

show() { # show TITLE COMMAND…
	printf '\n%s%s%s\n' "$bold" "$1" "$off"
	shift
	local t0 t1 st
	t0=$(date +%s%N)
	"$@"
	st=$?
	t1=$(date +%s%N)
	printf '  → exit status %d, %d.%03d s\n' "$st" $(((t1 - t0) / 1000000000)) $(((t1 - t0) / 1000000 % 1000))
	[ "$st" = 0 ] || rc=1
}

host_untouched() { # host_untouched WHERE-THE-WRITES-ARE
	if [ -e /etc/written-inside ]; then
		echo '  the host was written to!'
		rc=1
	else
		echo "  the host has no /etc/written-inside: writes stayed in $1"
	fi
}
