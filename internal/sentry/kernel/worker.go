package kernel

import (
	"runtime"
	"sync"

	"bulkhead.dev/bulkhead/internal/platform"
)

// worker is a goroutine with a thread of its own that runs tasks, one after
// the other. An idle one is woken by one call of the host's; a new goroutine
// would have to wait until Go's scheduler has found it a thread.
type worker struct {
	seat *platform.Seat
	bed  parker
	work work // written before bed is woken
}

// work is a task to be run from the state its host thread is in.
type work struct {
	task  *Task
	cpu   int // beside this one; -1: anywhere
	first func(*Task) platform.Kind
}

// maxIdle bounds the workers that are kept.
const maxIdle = 16

// workers are the idle ones, the last to come first. mu is a leaf.
type workers struct {
	mu   sync.Mutex
	idle []*worker
}

func (ws *workers) take() *worker {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	n := len(ws.idle)
	if n == 0 {
		return nil
	}
	w := ws.idle[n-1]
	ws.idle = ws.idle[:n-1]
	return w
}

// put gives false if there are enough.
func (ws *workers) put(w *worker) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if len(ws.idle) == maxIdle {
		return false
	}
	ws.idle = append(ws.idle, w)
	return true
}

// Start runs the task on a goroutine of its own, anywhere.
func (t *Task) Start(first func(*Task) platform.Kind) {
	t.tg.acct.running.Add(1)
	j := work{task: t, cpu: -1, first: first}
	w := t.k.workers.take()
	if w == nil {
		go newWorker(j).run(&t.k.workers)
		return
	}
	w.work = j
	w.bed.wake()
}

// startChild lets a new task's guest run on beside cpu: it returns 0 from clone.
// Its goroutine begins with its first event (by whoever made the task).
func (t *Task) startChild(cpu int) {
	t.tg.acct.running.Add(1)
	j := work{task: t, cpu: cpu, first: firstEvent}
	th := t.plat.th.Load()
	t.updateIds(th)
	t.giveMask(th)
	t.plat.kind = platform.KindSyscall
	w := t.k.workers.take()
	t.plat.user.Store(true)
	if w == nil {
		th.Release(0, 0, nil, 0, nil)
		go newWorker(j).run(&t.k.workers)
	} else {
		w.work = j
		if cpu >= 0 {
			w.seat.Pin(cpu)
		}
		if !w.bed.due() {
			th.Release(0, 0, nil, 0, nil)
		} else if !th.Release(0, 0, &w.bed.word, 2, w.seat) {
			w.bed.rouse()
		}
	}
	if t.interrupted() {
		th.Kick()
	}
}

func newWorker(j work) *worker { return &worker{work: j, bed: parker{idle: true}} }

func (w *worker) run(ws *workers) {
	runtime.LockOSThread()
	w.seat = platform.NewSeat()
	for {
		w.serve()
		w.work = work{}
		if !ws.put(w) {
			break
		}
		w.bed.sleep(0)
	}
	w.seat.Pin(-1)
	runtime.UnlockOSThread()
}

func (w *worker) serve() {
	t := w.work.task
	t.seat = w.seat
	t.seatBefore.Store(readCPUClock(cpuClockID(w.seat.TID(), clockPerThread)))
	t.sentryTID.Store(int32(w.seat.TID()))
	if th := t.plat.th.Load(); th != nil {
		th.Begin(w.work.cpu, w.seat)
	}
	t.run(w.work.first(t))
}
