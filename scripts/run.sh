#!/bin/bash
# run.sh: shows the main job: programs of this machine behind the Sentry, with
# the host's files read-only under an overlay in memory.
. "$(dirname "$0")/show.sh"
if ! command -v /usr/bin/python3 >/dev/null && [ "$(id -u)" = 0 ]; then
	apt-get update -qq && apt-get install -y -qq --no-install-recommends python3 >/dev/null
fi
show '1. find /usr -type f, in a new sandbox' $B do -- sh -c 'find /usr -type f | wc -l | sed "s/^/  files seen: /"'
show '2. a python3 program' $B do -- /usr/bin/python3 -c '
import hashlib, os, platform, threading
print("  kernel:", platform.release(), " pid:", os.getpid(), " uid:", os.getuid())
out = []
ts = [threading.Thread(target=lambda i=i: out.append(hashlib.sha256(bytes(i) * 1000).hexdigest()[:8])) for i in range(4)]
[t.start() for t in ts]; [t.join() for t in ts]
open("/etc/written-inside", "w").write("only in memory")
print("  threads:", len(out), " wrote /etc/written-inside:", os.path.getsize("/etc/written-inside"), "bytes")
'
host_untouched 'the sandbox'
show '3. a shell pipeline over the host'"'"'s own files' $B do -- sh -c 'cat /usr/share/common-licenses/* 2>/dev/null | tr -cs A-Za-z "\n" | sort | uniq -c | sort -rn | head -3 | sed "s/^/  /"'
exit $rc
