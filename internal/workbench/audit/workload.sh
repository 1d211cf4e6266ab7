# The traced run of bulkhead audit: work of many kinds, by what is there.
# /mnt/scratch is a writable directory of the host's, /tmp in memory.
cd /mnt/scratch 2>/dev/null || cd /tmp || exit 1
have() { command -v "$1" >/dev/null 2>&1; }

# Processes, pipes, signals, jobs, terminals that are none.
for i in 1 2 3 4 5; do (echo "$i" | cat | wc -l) >/dev/null; done
sleep 0.05 & wait
sleep 5 & kill $!; wait
trap 'x=1' USR1; kill -USR1 $$
( ulimit -n 64; exec true )
nice -n 5 true; test -t 0

# Files: made, read, changed, linked, removed; large, sparse, named pipes.
mkdir -p d/e/f && echo one >d/e/one && cp -a d copy && mv copy moved
ln -s one d/e/soft; ln d/e/one d/e/hard; readlink d/e/soft >/dev/null
mkfifo pipe; (echo through >pipe &) ; cat pipe >/dev/null
dd if=/dev/zero of=big bs=64k count=64 2>/dev/null; dd if=big of=big2 bs=4k 2>/dev/null
dd if=/dev/zero of=sparse bs=1 count=1 seek=1000000 conv=notrunc,fsync 2>/dev/null
truncate -s 100 big2; touch -d 2020-01-02 big2; chmod 600 big2; chown 1:1 big2 2>/dev/null
cat big >/dev/null; ls -laR . >/dev/null; stat big >/dev/null; df . >/dev/null; sync; sync -d big2 2>/dev/null
tar cf t.tar d moved && tar tf t.tar >/dev/null && gzip -f t.tar
find /usr -maxdepth 3 -type f >/dev/null; du -s /etc >/dev/null 2>&1; sort /etc/passwd | uniq -c >/dev/null
have setfattr && { setfattr -n user.a -v b big; getfattr -d big; setfattr -x user.a big; } >/dev/null 2>&1
have fallocate && { fallocate -l 65536 fa; fallocate -p -o 4096 -l 4096 fa; } 2>/dev/null
have mknod && mknod sock p 2>/dev/null
cat /proc/self/maps /proc/self/status /proc/meminfo /proc/stat /proc/loadavg /proc/cpuinfo /proc/mounts >/dev/null
have free && free >/dev/null; have ps && ps ax >/dev/null; have nproc && nproc >/dev/null

# What python adds: threads, sockets, shared memory, mappings, polls, timers.
have python3 && python3 - <<'PY'
import mmap, os, select, signal, socket, subprocess, sys, tempfile, threading, time
t = [threading.Thread(target=lambda: sum(range(20000))) for _ in range(8)]
[x.start() for x in t]; [x.join() for x in t]
a, b = socket.socketpair(); a.send(b"x"); b.recv(1)
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()
c = socket.create_connection(s.getsockname()); d, _ = s.accept(); c.sendall(b"y"); d.recv(1)
e = select.epoll(); e.register(d, select.EPOLLIN); c.send(b"z"); e.poll(1)
with open("map", "w+b") as f:
    f.truncate(8192); m = mmap.mmap(f.fileno(), 8192); m[:4] = b"abcd"; m.flush(); os.fsync(f.fileno()); os.fdatasync(f.fileno())
m = mmap.mmap(-1, 1 << 20); m[0] = 1
pid = os.fork()
if pid == 0: os._exit(3)
os.waitpid(pid, 0)
signal.setitimer(signal.ITIMER_REAL, 0.01); signal.signal(signal.SIGALRM, lambda *_: None); time.sleep(0.03)
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
subprocess.run(["true"]); os.urandom(16); os.sched_getaffinity(0); os.getloadavg(); time.process_time()
def attempt(f):
    try: f()
    except Exception as err: print(f, err, file=sys.stderr)
def tmpfile():
    f = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600); os.write(f, b"q")
    os.link("/proc/self/fd/%d" % f, "tmpnamed", follow_symlinks=True)
def xattrs():
    os.setxattr("pf", "user.x", b"y"); os.getxattr("pf", "user.x"); os.listxattr("pf"); os.removexattr("pf", "user.x")
def usock():
    u = socket.socket(socket.AF_UNIX); u.bind("usock"); u.listen(); u.close()
def manynames():
    os.mkdir("many"); [open("many/%d" % i, "w").close() for i in range(600)]; os.listdir("many"); os.listdir("many")
def syncdir():
    d = os.open(".", os.O_RDONLY); os.fsync(d); os.close(d)
def calls():
    import ctypes; c = ctypes.CDLL(None); n = ctypes.c_uint()
    c.syscall(309, ctypes.byref(n), None, None) # getcpu
    c.syscall(324, 1, 0, 0); c.syscall(324, 0, 0, 0) # membarrier
attempt(lambda: os.posix_fallocate(os.open("pf", os.O_CREAT | os.O_RDWR), 0, 4096))
attempt(lambda: (os.link("map", "map2"), os.rename("map2", "map3"), os.replace("map3", "map4"), os.remove("map4")))
attempt(lambda: (os.utime("pf"), os.chmod("pf", 0o640), os.truncate("pf", 10), os.symlink("pf", "ps"), os.chown("pf", 0, 0)))
attempt(lambda: os.lseek(os.open("sparse", os.O_RDONLY), 0, os.SEEK_DATA))
for f in tmpfile, xattrs, usock, manynames, syncdir, calls: attempt(f)
p = subprocess.Popen(["sleep", "9"]); p.kill(); p.wait()
PY
have perl && perl -e 'open F,">p"; print F 1; close F; unlink "p"; my $p=fork; exit 0 unless $p; waitpid $p,0'
rm -rf many d moved big big2 sparse pipe t.tar.gz
exit 0
