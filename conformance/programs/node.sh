# node: event loop, files, child processes, workers, sockets, timers, streams.
set -eu
die() { echo "FAIL line ${BASH_LINENO[0]}: $*" >&2; exit 1; }
want() { [ "$1" = "$2" ] || { echo "FAIL line ${BASH_LINENO[0]}: got <$1>, want <$2>" >&2; exit 1; }; }

command -v node >/dev/null || { echo "node is not installed" >&2; exit 1; }
cat > t.js <<'JS'
const assert = require('assert'), fs = require('fs'), net = require('net'), http = require('http'), cp = require('child_process'), path = require('path'), os = require('os'), zlib = require('zlib'), crypto = require('crypto');
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
if (!isMainThread) { let s = 0; for (let i = 0; i < workerData; i++) s += i; parentPort.postMessage(s); }
else (async () => {
  const fsp = fs.promises;
  await fsp.mkdir('d/e', { recursive: true }); await Promise.all([...Array(50).keys()].map(i => fsp.writeFile(`d/f${i}`, 'x'.repeat(i)))); assert.equal((await fsp.readdir('d')).length, 51); assert.equal((await fsp.stat('d/f7')).size, 7);
  await fsp.rename('d/f1', 'd/g'); await fsp.symlink('g', 'd/l'); assert.equal(await fsp.realpath('d/l'), path.resolve('d/g')); await fsp.rm('d', { recursive: true }); assert(!fs.existsSync('d'));
  const ac = new AbortController(); const w = fsp.watch('.', { signal: ac.signal }); setTimeout(() => fs.writeFileSync('watched', ''), 100); for await (const e of w) if (e.filename === 'watched') break; ac.abort();
  const out = await new Promise((r, j) => cp.execFile('sh', ['-c', 'echo out; exit 3'], (e, so) => r([e && e.code, so]))); assert.deepEqual(out, [3, 'out\n']);
  const c = cp.spawn('cat'); c.stdin.end('through'); let t = ''; for await (const b of c.stdout) t += b; assert.equal(t, 'through');
  const k = cp.spawn('sleep', ['100']); setTimeout(() => k.kill(), 50); assert.equal((await new Promise(r => k.on('exit', (code, sig) => r(sig)))), 'SIGTERM'); assert.equal(cp.execSync('seq 3 | wc -l').toString().trim(), '3');
  const sums = await Promise.all([1000, 2000, 3000].map(n => new Promise((r, j) => new Worker(__filename, { workerData: n }).on('message', r).on('error', j)))); assert.deepEqual(sums, [499500, 1999000, 4498500]);
  const srv = http.createServer((q, s) => { let n = 0; q.on('data', b => n += b.length).on('end', () => s.end(`${q.method} ${n}`)); }); await new Promise(r => srv.listen(0, '127.0.0.1', r));
  const ask = (m, b) => new Promise((r, j) => { const q = http.request({ port: srv.address().port, host: '127.0.0.1', method: m }, s => { let t = ''; s.on('data', d => t += d).on('end', () => r(t)); }); q.on('error', j); q.end(b); });
  assert.deepEqual(await Promise.all([...Array(20).keys()].map(i => ask('POST', 'y'.repeat(i * 1000)))), [...Array(20).keys()].map(i => `POST ${i * 1000}`)); srv.close();
  const un = net.createServer(s => s.pipe(s)).listen('sock'); await new Promise(r => un.on('listening', r)); const s = net.connect('sock'); s.write('ping'); assert.equal((await new Promise(r => s.once('data', r))).toString(), 'ping'); s.destroy(); un.close();
  const z = zlib.gzipSync(Buffer.alloc(100000)); assert.equal(zlib.gunzipSync(z).length, 100000); assert.equal(crypto.createHash('sha1').update('').digest('hex').slice(0, 4), 'da39'); await new Promise((r, j) => crypto.pbkdf2('a', 'b', 1000, 16, 'sha256', e => e ? j(e) : r()));
  const t0 = Date.now(); await new Promise(r => setTimeout(r, 50)); assert(Date.now() - t0 >= 48); await new Promise(r => { process.once('SIGUSR2', r); process.kill(process.pid, 'SIGUSR2'); setTimeout(() => {}, 100); }); assert(os.cpus().length >= 1 && os.totalmem() > 0 && os.networkInterfaces().lo);
  console.log('node ok');
})().catch(e => { console.error(e); process.exit(1); });
JS
want "$(node t.js)" "node ok"; want "$(node -p '[1,2].map(x => x + 1).join()')" 2,3; node -e 'process.exit(9)' || want $? 9; want "$(echo 'console.log(40+2)' | node -)" 42
