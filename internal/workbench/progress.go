package workbench

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/workbench/rounds"
)

// progress shows where the measurement stands: on a terminal one line that is
// rewritten, elsewhere a line every ten seconds.
type progress struct {
	w     io.Writer
	begin time.Time
	width int // 0: not a terminal
	last  time.Time
}

const lineEvery = 10 * time.Second

func newProgress(w io.Writer, begin time.Time) *progress {
	p := &progress{w: w, begin: begin}
	if f, ok := w.(*os.File); ok {
		if ws, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil {
			p.width = max(int(ws.Col), 40)
		}
	}
	return p
}

func (p *progress) update(at rounds.Progress) {
	now := time.Now()
	if p.width == 0 && now.Sub(p.last) < lineEvery {
		return
	}
	p.last = now
	line := progressLine(at, now.Sub(p.begin))
	if p.width == 0 {
		fmt.Fprintln(p.w, line)
		return
	}
	if r := []rune(line); len(r) >= p.width {
		line = string(r[:p.width-1])
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s", line)
}

func progressLine(at rounds.Progress, elapsed time.Duration) string {
	percent := 0
	if at.Total > 0 {
		percent = 100 * at.Done / at.Total
	}
	what := ""
	if at.Warmup {
		what = " (warm-up)"
	}
	return fmt.Sprintf("%3d %%  %s elapsed, about %s left  %s on %s%s", percent, clock(elapsed), clock(at.Left), at.Workload, at.Runtime, what)
}

func clock(d time.Duration) string {
	s := max(0, int(d.Round(time.Second).Seconds()))
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// end leaves the line clean for what follows.
func (p *progress) end() {
	if p.width > 0 {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
