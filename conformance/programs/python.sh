# python3: threads, multiprocessing, subprocess, asyncio, sqlite3, sockets, mmap, signals, files.
set -eu
die() { echo "FAIL line ${BASH_LINENO[0]}: $*" >&2; exit 1; }
want() { [ "$1" = "$2" ] || { echo "FAIL line ${BASH_LINENO[0]}: got <$1>, want <$2>" >&2; exit 1; }; }

cat > t.py <<'PY'
import asyncio, concurrent.futures, fcntl, hashlib, json, mmap, multiprocessing, os, queue, select, selectors, shutil, signal, socket, sqlite3, ssl, stat, subprocess, sys, tempfile, threading, time, zlib

def square(n): return n * n
def child(q): q.put(os.getpid())
def adder(v, l):
    for _ in range(200):
        with l: v.value += 1

def threads():
    q, out = queue.Queue(), []
    def work():
        while (n := q.get()) is not None: out.append(n * 2)
    ts = [threading.Thread(target=work) for _ in range(4)]
    for t in ts: t.start()
    for i in range(1000): q.put(i)
    for _ in ts: q.put(None)
    for t in ts: t.join()
    assert sorted(out) == [2 * i for i in range(1000)]
    e = threading.Event(); t0 = time.monotonic(); assert not e.wait(0.05); assert time.monotonic() - t0 >= 0.05

def processes():
    with multiprocessing.Pool(3) as p: assert p.map(square, range(100)) == [i * i for i in range(100)]
    for method in ("fork", "spawn", "forkserver"):
        ctx = multiprocessing.get_context(method); q = ctx.Queue(); p = ctx.Process(target=child, args=(q,)); p.start(); assert q.get(timeout=60) == p.pid; p.join(); assert p.exitcode == 0
    v, l = multiprocessing.Value("i", 0), multiprocessing.Lock(); ps = [multiprocessing.Process(target=adder, args=(v, l)) for _ in range(4)]
    for p in ps: p.start()
    for p in ps: p.join()
    assert v.value == 800
    with concurrent.futures.ProcessPoolExecutor(2) as ex: assert sum(ex.map(square, range(50))) == 40425
    from multiprocessing import shared_memory
    m = shared_memory.SharedMemory(create=True, size=100); m.buf[0] = 7; n = shared_memory.SharedMemory(m.name); assert n.buf[0] == 7; n.close(); m.close(); m.unlink()

def subprocesses():
    r = subprocess.run(["sh", "-c", "cat; echo err >&2; exit 3"], input=b"in", capture_output=True); assert (r.stdout, r.stderr, r.returncode) == (b"in", b"err\n", 3)
    p = subprocess.Popen(["sleep", "100"]); p.terminate(); assert p.wait() == -signal.SIGTERM
    try: subprocess.run(["sleep", "100"], timeout=0.2); assert False
    except subprocess.TimeoutExpired: pass
    try: subprocess.run(["/no/such/program"]); assert False
    except FileNotFoundError: pass
    assert subprocess.check_output("seq 5 | wc -l", shell=True).strip() == b"5"
    big = os.urandom(1 << 20); assert subprocess.run(["cat"], input=big, stdout=subprocess.PIPE).stdout == big
    p = subprocess.Popen(["sh", "-c", "echo $$; ps -o pgid= -p $$ 2>/dev/null"], start_new_session=True, stdout=subprocess.PIPE); p.communicate()

async def aio():
    async def echo(r, w):
        while d := await r.read(100): w.write(d); await w.drain()
        w.close()
    for server, connect in ((await asyncio.start_server(echo, "127.0.0.1", 0), None), (await asyncio.start_unix_server(echo, "sock"), "sock")):
        async def client(i):
            r, w = await (asyncio.open_unix_connection(connect) if connect else asyncio.open_connection(*server.sockets[0].getsockname()))
            for _ in range(20): w.write(b"%d" % i); await w.drain(); assert await r.readexactly(len(b"%d" % i)) == b"%d" % i
            w.close()
        await asyncio.gather(*(client(i) for i in range(20)))
        server.close()
    p = await asyncio.create_subprocess_exec("sh", "-c", "read x; echo got $x", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    assert (await p.communicate(b"it\n"))[0] == b"got it\n"
    try: await asyncio.wait_for(asyncio.sleep(10), 0.05); assert False
    except asyncio.TimeoutError: pass
    loop = asyncio.get_running_loop(); hit = asyncio.Event(); loop.add_signal_handler(signal.SIGUSR1, hit.set); os.kill(os.getpid(), signal.SIGUSR1); await asyncio.wait_for(hit.wait(), 10)
    assert await loop.run_in_executor(None, square, 9) == 81
    infos = await loop.getaddrinfo("127.0.0.1", 80); assert infos

def databases():
    for mode in ("DELETE", "WAL", "MEMORY"):
        path = f"db-{mode}"; c = sqlite3.connect(path, timeout=30); c.execute(f"pragma journal_mode={mode}"); c.execute("create table t (a integer primary key, b text)")
        with c: c.executemany("insert into t (b) values (?)", [(f"row {i}",) for i in range(2000)])
        assert c.execute("select count(*), max(a) from t").fetchone() == (2000, 2000)
        d = sqlite3.connect(path, timeout=30)
        with d: d.execute("delete from t where a % 2")
        assert c.execute("select count(*) from t").fetchone()[0] == 1000; assert c.execute("pragma integrity_check").fetchone()[0] == "ok"
        c.execute("begin exclusive"); e = sqlite3.connect(path, timeout=0.1)
        try: e.execute("insert into t (b) values ('x')"); assert mode == "never"
        except sqlite3.OperationalError as x: assert "locked" in str(x)
        c.rollback(); c.close(); d.close(); e.close()

def files():
    with open("f", "w+b") as f:
        f.write(b"x" * 100000); f.flush(); m = mmap.mmap(f.fileno(), 0); m[5] = 65; f.seek(5); assert f.read(1) == b"A"; m.close()
        fcntl.flock(f, fcntl.LOCK_EX); fcntl.lockf(f, fcntl.LOCK_UN)
    os.makedirs("d/e/f"); os.symlink("d", "l"); assert os.path.realpath("l/e") == os.path.join(os.getcwd(), "d/e"); assert len(list(os.walk("d"))) == 3; assert [e.name for e in os.scandir("d")] == ["e"]
    shutil.copytree("d", "d2"); shutil.rmtree("d2"); os.rename("f", "g"); os.utime("g", (1, 2)); s = os.stat("g"); assert s.st_mtime == 2 and stat.S_ISREG(s.st_mode)
    with tempfile.TemporaryFile() as t: t.write(b"abc"); t.seek(1); assert t.read() == b"bc"
    with tempfile.NamedTemporaryFile(dir=".") as t: assert os.path.exists(t.name)
    os.setxattr("g", "user.a", b"v") if hasattr(os, "setxattr") and os.environ.get("XATTR") else None
    r, w = os.pipe(); os.write(w, b"p"); assert os.read(r, 9) == b"p"; assert os.sendfile(w, os.open("g", os.O_RDONLY), 0, 10) == 10; assert os.get_blocking(r)
    fd = os.memfd_create("x"); os.write(fd, b"m"); assert os.pread(fd, 1, 0) == b"m"; assert os.cpu_count() >= 1; assert len(os.urandom(10)) == 10; assert os.getloadavg()
    assert os.posix_spawn("/bin/true", ["true"], os.environ) > 0; os.wait()

def sockets():
    s = socket.create_server(("127.0.0.1", 0)); c = socket.create_connection(s.getsockname()); a, _ = s.accept(); c.sendall(b"z" * 500000 if False else b"hello"); assert a.recv(10) == b"hello"
    a.settimeout(0.05)
    try: a.recv(1); assert False
    except TimeoutError: pass
    x, y = socket.socketpair(); socket.send_fds(x, [b"fd"], [c.fileno()]); m, fds, _, _ = socket.recv_fds(y, 10, 1); os.write(fds[0], b"via"); a.settimeout(5); assert a.recv(10) == b"via"
    sel = selectors.DefaultSelector(); sel.register(y, selectors.EVENT_READ); x.send(b"!"); assert sel.select(5); socket.gethostname(); assert socket.if_nameindex()
    u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); u.bind(("::1", 0)); u.sendto(b"d", u.getsockname()); assert u.recv(9) == b"d"

def signals():
    got = []; signal.signal(signal.SIGALRM, lambda s, f: got.append(s)); signal.setitimer(signal.ITIMER_REAL, 0.05); time.sleep(0.3) if not got else None; assert got == [signal.SIGALRM]
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2]); os.kill(os.getpid(), signal.SIGUSR2); assert signal.sigwait([signal.SIGUSR2]) == signal.SIGUSR2
    pid = os.fork()
    if pid == 0: signal.signal(signal.SIGINT, signal.default_int_handler); os.kill(os.getpid(), signal.SIGINT); time.sleep(5); os._exit(1)
    return pid

if __name__ == "__main__":
    threads(); subprocesses(); asyncio.run(aio()); databases(); files(); sockets(); processes()
    ctx = ssl.create_default_context(); assert ctx; assert hashlib.sha256(b"").hexdigest()[:4] == "e3b0"; assert zlib.decompress(zlib.compress(b"a" * 1000)) == b"a" * 1000
    try:
        pid = signals()
    except KeyboardInterrupt: os._exit(42)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42
    print("python ok")
PY
want "$(/usr/bin/python3 t.py)" "python ok"
want "$(echo 'print(sum(range(10)))' | /usr/bin/python3 -)" 45; /usr/bin/python3 -c 'import sys; sys.exit(7)' || want $? 7; want "$(/usr/bin/python3 -m json.tool <<< '[1]' | tr -d ' \n')" "[1]"
/usr/bin/python3 -m compileall -q t.py; echo 'import unittest
class T(unittest.TestCase):
    def test(self): self.assertEqual(1, 1)' > test_x.py; /usr/bin/python3 -m unittest -q test_x 2>/dev/null
