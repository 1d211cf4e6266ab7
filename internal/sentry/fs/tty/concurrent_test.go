package tty

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// blocking runs try until it need not wait, as a task does.
func blocking(t *testing.T, q *waiter.Queue, try func() abi.Errno) abi.Errno {
	woken := make(chan struct{}, 1)
	e := waiter.Entry{Listener: wake(woken)}
	q.Register(&e, waiter.In|waiter.Out)
	defer q.Unregister(&e)
	for {
		if errno := try(); errno != unix.EAGAIN {
			return errno
		}
		select {
		case <-woken:
		case <-time.After(20 * time.Second):
			t.Error("not woken")
			return unix.ETIMEDOUT
		}
	}
}

// TestBothWays sends much in both directions at once, more than all buffers
// hold, while somebody changes the window size and looks at the settings.
func TestBothWays(t *testing.T) {
	o := newOurs(t, &caller{table: newTable(), pid: 99, sid: 98}, true)
	n := o.pair.slave.termios
	n.Iflag, n.Oflag, n.Lflag = 0, 0, 0
	set := n.encode()
	o.ioctl(false, unix.TCSETS, set[:])
	const size = 300_000
	data := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	var wg sync.WaitGroup
	for _, master := range []bool{true, false} {
		f, fd := o.files[index(master)], o.fds[index(master)]
		wg.Go(func() {
			for rest := data; len(rest) > 0; {
				if e := blocking(t, f.Queue(nil), func() abi.Errno {
					n, _, e := f.Write(vfs.Internal, fd, rest, 0)
					rest = rest[n:]
					return e
				}); e != 0 {
					t.Errorf("write: %v", e)
					return
				}
			}
		})
		wg.Go(func() {
			var got []byte
			buf := make([]byte, 5000)
			for len(got) < len(data) {
				if e := blocking(t, f.Queue(nil), func() abi.Errno {
					n, e := f.Read(vfs.Internal, fd, buf, 0)
					got = append(got, buf[:n]...)
					return e
				}); e != 0 {
					t.Errorf("read: %v", e)
					return
				}
			}
			if !bytes.Equal(got, data) {
				t.Error("what was read is not what was written")
			}
		})
	}
	done := make(chan struct{})
	var other sync.WaitGroup
	other.Go(func() {
		for i := uint16(0); ; i++ {
			select {
			case <-done:
				return
			default:
			}
			o.pair.slave.SetWinsize(Winsize{Rows: i})
			o.ioctl(true, unix.TCGETS, make([]byte, 60))
			o.files[0].Ready(nil)
		}
	})
	wg.Wait()
	close(done)
	other.Wait()
}
