# nginx and curl: static files, ranges, a proxy over a unix socket, TLS, many requests at once, reload, reopened logs.
set -eu
die() { echo "FAIL line ${BASH_LINENO[0]}: $*" >&2; exit 1; }
want() { [ "$1" = "$2" ] || { echo "FAIL line ${BASH_LINENO[0]}: got <$1>, want <$2>" >&2; exit 1; }; }

mkdir -p www/sub tmp; touch www/sub/entry; echo "hello nginx" > www/index.html; head -c 3000000 /dev/urandom > www/big; openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -days 2 -out cert.pem 2>/dev/null
user=; [ "$(id -u)" != 0 ] || user="user root;"
conf() { cat > nginx.conf <<C
$user worker_processes 2; pid $PWD/pid; error_log $PWD/error.log; daemon off;
events { worker_connections 128; }
http {
	access_log $PWD/access.log; sendfile on; gzip on; gzip_min_length 1; gzip_types text/plain;
	client_body_temp_path tmp/b; proxy_temp_path tmp/p; fastcgi_temp_path tmp/f; uwsgi_temp_path tmp/u; scgi_temp_path tmp/s;
	server { listen 127.0.0.1:$port; listen 127.0.0.1:$((port + 1)) ssl; ssl_certificate $PWD/cert.pem; ssl_certificate_key $PWD/key.pem; root $PWD/www; default_type text/plain;
		location /v { return 200 "$1\n"; } location /p/ { proxy_pass http://unix:$PWD/u.sock:/; } location /list/ { alias $PWD/www/sub/; autoindex on; } }
	server { listen unix:$PWD/u.sock; location / { return 200 "behind \$uri\n"; } }
}
C
}
export PATH="$PATH:/usr/sbin"; pid=; trap 'kill $pid 2>/dev/null || true' EXIT
for try in 1 2 3 4 5; do
	port=$((20000 + RANDOM % 20000)); rm -f u.sock; conf one; nginx -e "$PWD/error.log" -p "$PWD" -c "$PWD/nginx.conf" & pid=$!
	for i in $(seq 200); do kill -0 $pid 2>/dev/null || break; curl -sf http://127.0.0.1:$port/v >/dev/null && break 2; sleep 0.05; done
	kill $pid 2>/dev/null || true; wait $pid || true
done
u=http://127.0.0.1:$port; want "$(curl -sf $u/)" "hello nginx" ; want "$(curl -sf $u/v)" one; want "$(curl -s -o /dev/null -w '%{http_code}' $u/none)" 404
curl -sf $u/big | cmp - www/big; want "$(curl -sf -r 100-199 $u/big | md5sum)" "$(tail -c +101 www/big | head -c 100 | md5sum)"; want "$(curl -sf --compressed $u/index.html)" "hello nginx"; want "$(curl -sf $u/p/x)" "behind /x"; curl -sf $u/list/ | grep -q entry
curl -sf --cacert cert.pem https://127.0.0.1:$((port + 1))/big | cmp - www/big
for i in $(seq 100); do echo "url = $u/index.html"; done > urls; curl -sf -Z --parallel-max 10 -K urls | grep -c "hello nginx" | grep -qx 100
seq 1 8 | xargs -P 4 -I{} curl -sf -o out.{} $u/big; for i in $(seq 1 8); do cmp out.$i www/big; done
conf two; kill -HUP $pid; n=0; for i in $(seq 400); do [ "$(curl -sf $u/v)" = two ] && n=$((n + 1)) || n=0; [ $n -lt 10 ] || break; sleep 0.05; done; want $n 10 # the old workers accept for a while
mv access.log old.log; kill -USR1 $pid; for i in $(seq 200); do [ -e access.log ] && break; sleep 0.05; done; curl -sf $u/ > /dev/null; for i in $(seq 100); do [ -s access.log ] && break; sleep 0.05; done; grep -q "GET / HTTP" access.log; [ "$(wc -l < old.log)" -ge 110 ]
kill -QUIT $pid; wait $pid; curl -s $u/ && die "still there" || want $? 7
! grep -E "alert|emerg|crit" error.log
