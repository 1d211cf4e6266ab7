# openssl: keys, certificates, signatures, ciphers, a TLS server and client on loopback.
set -eu
die() { echo "FAIL line ${BASH_LINENO[0]}: $*" >&2; exit 1; }
want() { [ "$1" = "$2" ] || { echo "FAIL line ${BASH_LINENO[0]}: got <$1>, want <$2>" >&2; exit 1; }; }

openssl genrsa -out key.pem 2048 2>/dev/null; openssl req -x509 -new -key key.pem -subj /CN=localhost -days 2 -out cert.pem 2>/dev/null; openssl verify -CAfile cert.pem cert.pem | grep -q OK
openssl ecparam -name prime256v1 -genkey -noout -out ec.pem; echo message > msg; openssl dgst -sha256 -sign ec.pem -out sig msg; openssl ec -in ec.pem -pubout -out pub.pem 2>/dev/null; openssl dgst -sha256 -verify pub.pem -signature sig msg | grep -q OK
head -c 100000 /dev/urandom > plain; openssl enc -aes-256-cbc -pbkdf2 -pass pass:x -in plain -out enc; openssl enc -d -aes-256-cbc -pbkdf2 -pass pass:x -in enc | cmp - plain; want "$(echo -n | openssl dgst -md5 -r | cut -c1-8)" d41d8cd9; want "$(openssl rand 16 | wc -c)" 16
port=0; for try in 1 2 3 4 5; do port=$((20000 + RANDOM % 20000)); openssl s_server -accept 127.0.0.1:$port -cert cert.pem -key key.pem -quiet -rev > server.log 2>&1 & pid=$!; for i in $(seq 60); do kill -0 $pid 2>/dev/null || break; (exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null && break 2; sleep 0.05; done; kill $pid 2>/dev/null || true; done
(echo hello; for i in $(seq 400); do [ -s answer ] && break; sleep 0.05; done) | openssl s_client -connect 127.0.0.1:$port -CAfile cert.pem -verify_return_error -quiet -no_ign_eof 2>/dev/null > answer || true; kill $pid; wait $pid 2>/dev/null || true; want "$(cat answer)" olleh
openssl speed -seconds 1 -bytes 1024 sha256 >/dev/null 2>&1 || die speed
