# programs that talk over loopback: python's http.server, curl or wget, bash's /dev/tcp, getent, ip.
set -eu
die() { echo "FAIL line ${BASH_LINENO[0]}: $*" >&2; exit 1; }
want() { [ "$1" = "$2" ] || { echo "FAIL line ${BASH_LINENO[0]}: got <$1>, want <$2>" >&2; exit 1; }; }

mkdir www; seq 10000 > www/numbers; cat > s.py <<'PY'
import http.server, os, sys
os.chdir("www"); s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
open("../port.tmp", "w").write(str(s.server_address[1])); os.rename("../port.tmp", "../port"); s.serve_forever()
PY
/usr/bin/python3 s.py 2>/dev/null & pid=$!; for i in $(seq 200); do [ -e port ] && break; sleep 0.05; done; port=$(cat port)
fetch() { if command -v curl >/dev/null; then curl -sS --noproxy '*' "$1"; else wget -q --no-proxy -O - "$1"; fi; }
want "$(fetch http://127.0.0.1:$port/numbers | md5sum)" "$(md5sum < www/numbers)"; for i in 1 2 3 4; do (fetch http://127.0.0.1:$port/numbers | cmp - www/numbers) & done; wait %2 %3 %4 %5 2>/dev/null || true
exec 3<>/dev/tcp/127.0.0.1/$port; printf 'GET /numbers HTTP/1.0\r\n\r\n' >&3; grep -q 10000 <&3; exec 3<&-; kill $pid; wait $pid 2>/dev/null || true
getent passwd root | grep -q :0:; getent hosts localhost >/dev/null || grep -q localhost /etc/hosts
if command -v ip >/dev/null; then ip addr show lo | grep -q 127.0.0.1/8; ip -6 addr show lo | grep -q ::1; ip link | grep -q LOOPBACK; ip route >/dev/null; fi
if (exec 3<>/dev/tcp/127.0.0.1/1) 2>/dev/null; then die "port 1 answers"; fi
