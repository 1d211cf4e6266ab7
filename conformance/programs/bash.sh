# bash: traps, job control on a terminal, pipelines, process substitution, coprocesses, arrays, limits.
set -eu
die() { echo "FAIL line ${BASH_LINENO[0]}: $*" >&2; exit 1; }
want() { [ "$1" = "$2" ] || { echo "FAIL line ${BASH_LINENO[0]}: got <$1>, want <$2>" >&2; exit 1; }; }

# pipelines and their statuses
set +e
false | true; want "${PIPESTATUS[*]}" "1 0"
set -o pipefail; false | true; want $? 1; set +o pipefail
set -e
want "$(seq 1 100 | while read -r n; do echo $((n * n)); done | tail -1)" 10000
want "$(cat <(echo one) <(echo two) | tr '\n' ' ')" "one two "
echo data > >(cat > substituted); for i in $(seq 100); do [ -s substituted ] && break; sleep 0.05; done; want "$(cat substituted)" data

# traps
out=$(bash -c 'trap "echo usr1" USR1; trap "echo bye" EXIT; kill -USR1 $$; echo after')
want "$out" $'usr1\nafter\nbye'
out=$(bash -c 'trap "echo int; exit 3" INT; kill -INT $$; echo never' || echo "st $?")
want "$out" $'int\nst 3'
out=$(bash -c 'trap "" TERM; kill -TERM $$; echo alive'); want "$out" alive
out=$(bash -c 'trap "echo err" ERR; false; true'); want "$out" err
bash -c 'kill -KILL $$' 2>/dev/null && die "survived SIGKILL" || want $? 137

# background jobs, wait, wait -n
(sleep 0.1; exit 7) & pid=$!
set +e; wait $pid; want $? 7
sleep 0.05 & (exit 4) & wait -n; st=$?; wait
[ $st = 4 ] || [ $st = 0 ] || die "wait -n gave $st"
set -e
want "$(for i in 1 2 3; do (sleep 0.0$i; echo $i) & done | cat | sort)" $'1\n2\n3'

# job control without a terminal
out=$(bash -c 'set -m; sleep 100 & jobs -r | grep -c Running; kill -STOP %1; sleep 0.2; jobs -s | grep -c Stopped; kill %1; kill -CONT %1; wait %1; echo $?' 2>/dev/null)
want "$out" $'1\n1\n143'

# handlers whose frames lie at the very top of the address space: the shell catches SIGCHLD
want "$(setarch -R dash -c 'true | cat; (exit 3) | cat; echo fine')" fine
want "$(setarch -R bash -c 'trap "echo caught" USR1; kill -USR1 $$; (exit 3); echo $?')" $'caught\n3'

# job control on a terminal of its own
cat > session <<'S'
PS1='$ '
sleep 1000 &
jobs
kill %1
wait $!
echo "status $?"
stty size
tty | grep -c pts
exit 5
S
set +e
TERM=dumb script -qec "bash --norc --noprofile -i" typescript < session > screen; st=$?
set -e
want $st 5
grep -q "status 143" screen || die "no status on the screen: $(cat screen)"
grep -q "Running" screen || die "no job list"

# coprocess, arrays, arithmetic, here-documents, read with a limit
coproc UP { tr a-z A-Z; }
echo shout >&"${UP[1]}"; eval "exec ${UP[1]}>&-"; read -r line <&"${UP[0]}"; want "$line" SHOUT
declare -A m=([a]=1 [b]=2); want "${#m[@]} ${m[b]}" "2 2"
a=({1..1000}); want "${#a[@]} ${a[999]}" "1000 1000"
want $((2**40 % 1000)) 776
want "$(cat <<< "here")" here
if read -r -t 0.2 x < <(sleep 2); then die "read did not time out"; fi
exec 7<>fifo7 ; echo through >&7; exec 7<&-; want "$(cat fifo7)" through
mkfifo f; (echo fifo > f) & read -r x < f; want "$x" fifo; wait
(ulimit -n 20; exec 8</dev/null; ulimit -n) | grep -qx 20
want "$(umask 027; touch u; stat -c %a u)" 640
want "$(printf '%s\n' c a b | sort | paste -sd, -)" a,b,c
for i in $(seq 200); do /bin/true; done
f() { local n=$1; [ "$n" = 0 ] && { echo done; return; }; f $((n - 1)); }; want "$(f 200)" done
want "$(timeout 0.2 sleep 10; echo $?)" 124
