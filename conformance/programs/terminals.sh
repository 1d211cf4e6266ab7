# tmux and screen: servers that hold terminals, sessions that are left and entered again.
set -eu
die() { echo "FAIL line ${BASH_LINENO[0]}: $*" >&2; exit 1; }
want() { [ "$1" = "$2" ] || { echo "FAIL line ${BASH_LINENO[0]}: got <$1>, want <$2>" >&2; exit 1; }; }

export TERM=xterm SHELL=/bin/bash TMUX_TMPDIR=$PWD; unset TMUX
trap 'tmux -S "$PWD/sock" kill-server 2>/dev/null || true; SCREENDIR=$PWD/scr screen -S s -X quit >/dev/null 2>&1 || true' EXIT
t() { tmux -S "$PWD/sock" -f /dev/null "$@"; }
has() { for i in $(seq 200); do t capture-pane -p -t "$1" | grep -q "$2" && return 0; sleep 0.05; done; t capture-pane -p -t "$1" >&2; die "no $2"; }
t new-session -d -s one -x 90 -y 30 "bash --norc --noprofile"; t send-keys -t one 'stty size; tty' Enter; has one "30 90\|29 90"; has one "^/dev/pts/"
t send-keys -t one 'sleep 100' Enter; for i in $(seq 200); do [ "$(t display -p -t one '#{pane_current_command}')" = sleep ] && break; sleep 0.05; done; want "$(t display -p -t one '#{pane_current_command}')" sleep; t send-keys -t one C-c; t send-keys -t one 'echo st$?' Enter; has one st130
t split-window -t one "bash --norc --noprofile"; want "$(t list-panes -t one | wc -l)" 2; t send-keys -t one.1 'echo second' Enter; has one.1 "^second"; t kill-pane -t one.1
# a client on a terminal of its own attaches, types and leaves
(sleep 1; printf 'echo typed-$((40+2))\r'; sleep 1; printf '\002d'; sleep 0.5) | timeout 20 script -qec "stty rows 40 cols 100; tmux -S $PWD/sock attach -t one" client > /dev/null || true; has one typed-42; t list-sessions | grep -q "^one:"
t send-keys -t one 'exit' Enter; for i in $(seq 200); do t list-sessions >/dev/null 2>&1 || break; sleep 0.05; done; ! t list-sessions 2>/dev/null
mkdir -m 700 -p scr; export SCREENDIR=$PWD/scr; screen -c /dev/null -dmS s -L -Logfile log bash --norc --noprofile
for i in $(seq 200); do screen -ls | grep -q '\.s' && break; sleep 0.05; done; screen -S s -X stuff $'echo in-screen-$((1+1)); tty\n'; for i in $(seq 200); do screen -S s -X hardcopy "$PWD/hard" && grep -q in-screen-2 hard 2>/dev/null && break; sleep 0.05; done; grep -q in-screen-2 hard || die "$(cat hard)"
screen -S s -X stuff $'exit\n'; for i in $(seq 200); do screen -ls | grep -q '\.s' || break; sleep 0.05; done; ! screen -ls | grep -q '\.s'
