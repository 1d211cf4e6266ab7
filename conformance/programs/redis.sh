# redis: over a unix socket and loopback, persistence by a forked child and by the log, pub/sub, scripts, expiry.
set -eu
die() { echo "FAIL line ${BASH_LINENO[0]}: $*" >&2; exit 1; }
want() { [ "$1" = "$2" ] || { echo "FAIL line ${BASH_LINENO[0]}: got <$1>, want <$2>" >&2; exit 1; }; }

pid=; trap 'kill $pid 2>/dev/null || true' EXIT
for try in 1 2 3 4 5; do
	port=$((20000 + RANDOM % 20000))
	redis-server --port $port --bind 127.0.0.1 --unixsocket "$PWD/s" --unixsocketperm 700 --dir "$PWD" --save 3600 1 --appendonly yes --appendfsync everysec --daemonize no --logfile "$PWD/log" --enable-debug-command yes >/dev/null & pid=$!
	for i in $(seq 200); do kill -0 $pid 2>/dev/null || break; redis-cli -s s ping >/dev/null 2>&1 && break 2; sleep 0.05; done
	kill $pid 2>/dev/null || true; wait $pid || true
done
r() { redis-cli -s s "$@"; }; t() { redis-cli -h 127.0.0.1 -p $port "$@"; }
want "$(r ping)" PONG; want "$(t set k v)" OK; want "$(r get k)" v
seq 1 3000 | sed 's/.*/RPUSH list &/' | r > /dev/null; want "$(t llen list)" 3000; want "$(r lindex list -1)" 3000
for i in 1 2 3 4; do (seq 1 200 | sed 's/.*/INCR n/' | t > /dev/null) & jobs+=" $!"; done; wait $jobs; want "$(r get n)" 800
want "$(r eval 'return redis.call("get", KEYS[1]) * 2' 1 n)" 1600
r set gone x px 60 > /dev/null; for i in $(seq 100); do [ -z "$(r get gone)" ] && break; sleep 0.05; done; want "$(r exists gone)" 0
(timeout 20 redis-cli -s s subscribe ch > sub &) ; for i in $(seq 100); do [ "$(r publish ch hello)" = 1 ] && break; sleep 0.05; done; for i in $(seq 100); do grep -q hello sub && break; sleep 0.05; done; grep -q hello sub
head -c 300000 /dev/urandom | base64 -w0 > big; r -x set big < big > /dev/null; want "$(r --raw get big | head -c 400000 | md5sum)" "$(md5sum < big)"
r bgsave > /dev/null; for i in $(seq 200); do r info persistence | grep -q "rdb_bgsave_in_progress:0" && break; sleep 0.05; done; r info persistence | grep -q "rdb_last_bgsave_status:ok" || die "$(tail log)"; [ -s dump.rdb ]
r bgrewriteaof > /dev/null; for i in $(seq 200); do r info persistence | grep -q "aof_rewrite_in_progress:0" && break; sleep 0.05; done; r info persistence | grep -q "aof_last_bgrewrite_status:ok" || die "$(tail log)"
want "$(r debug reload)" OK; want "$(r llen list)" 3000
r shutdown save > /dev/null 2>&1 || true; wait $pid; redis-check-rdb dump.rdb > /dev/null
redis-server --port 0 --unixsocket "$PWD/s" --dir "$PWD" --appendonly yes --logfile "$PWD/log" >/dev/null & pid=$!
for i in $(seq 200); do [ "$(r get k 2>/dev/null)" = v ] && break; sleep 0.05; done; want "$(r get n)" 800; kill $pid; wait $pid
