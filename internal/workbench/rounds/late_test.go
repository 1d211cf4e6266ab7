package rounds

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"bulkhead.dev/bulkhead/internal/workbench/results"
)

const warm3 = warm2 + "  - {name: w3, command: [x], metrics: [{name: t, source: wall}]}\n"

// Once it is known what the workloads cost, the cheapest come first, so that a
// runtime with a share reaches as many as it can.
func TestCheapestFirst(t *testing.T) {
	var log []string
	b := bench(&log, workloads(t, warm3), "A", "B")
	for i, spent := range []float64{30, 10, 20} {
		known(b, i, 0, spent)
		known(b, i, 1, 100-spent)
	}
	names := func() (out []string) {
		for _, w := range b.sorted(b.Workloads) {
			out = append(out, w.Name)
		}
		return out
	}
	if got := names(); !slices.Equal(got, []string{"w", "w2", "w3"}) {
		t.Errorf("without a slow runtime the order is the file's: %q", got)
	}
	b.Runtimes[1].TimeShare, b.Deadline = 0.5, time.Now().Add(time.Hour)
	if got := names(); !slices.Equal(got, []string{"w2", "w3", "w"}) {
		t.Errorf("got %q", got)
	}
}

// What the rounds leave of the time goes to cells that a share did not reach,
// with the baseline beside them; where too little is left, they say so.
func TestLate(t *testing.T) {
	for _, left := range []time.Duration{time.Hour, time.Second} {
		var log []string
		b := bench(&log, workloads(t, warm3), "A", "B")
		b.Runtimes[1].TimeShare, b.Deadline = 0.5, time.Now().Add(left)
		for i := range 3 {
			known(b, i, 0, 1).Keep(0, map[string]float64{"t": 1})
		}
		known(b, 0, 1, 5).Keep(1, map[string]float64{"t": 5}) // the usual
		b.cell(b.Workloads[2], b.Runtimes[1]).Status = results.CellFailed
		if err := b.late(context.Background(), b.Workloads); err != nil {
			t.Fatal(err)
		}
		b.leftOver(b.Workloads)
		c, base := b.Results.Find("w2", "B"), b.Results.Find("w2", "A")
		if left == time.Second {
			if len(log) > 0 || c.Status != results.CellSkipped || !strings.Contains(c.Why, "have used it up") {
				t.Errorf("no time was left: %q, %+v", log, c)
			}
			continue
		}
		if !slices.Equal(log, []string{"A:w2", "B:w2"}) || c.Count() != 1 || c.Runs != 1 || !c.Has(b.Rounds) || !base.Has(b.Rounds) {
			t.Errorf("%q: %+v beside %+v", log, c, base)
		}
	}
}

// A run that does not end in what is left of the time is stopped, and the
// measurement is whole all the same.
func TestLateRunIsBounded(t *testing.T) {
	var log []string
	b := bench(&log, workloads(t, warm2), "A", "B")
	b.Runtimes[1].TimeShare, b.Deadline = 0.5, time.Now().Add(2*time.Second)
	known(b, 0, 1, 0.1).Keep(1, map[string]float64{"t": 1})
	b.Runtimes[1].Driver.(*puppet).hang = true
	ctx, cancel := context.WithDeadline(context.Background(), b.Deadline)
	defer cancel()
	if err := b.late(ctx, b.Workloads); err != nil {
		t.Fatal(err)
	}
	if c := b.Results.Find("w2", "B"); c.Status != results.CellSkipped || !strings.Contains(c.Why, "one run takes more than") {
		t.Errorf("%+v", c)
	}
}

// A full disk is no fault of a cell's: it ends the measurement, and --resume
// goes on with that very cell.
func TestFullDiskEndsAll(t *testing.T) {
	var log []string
	b := bench(&log, workloads(t, warm2), "A", "B")
	b.Runtimes[1].Driver.(*puppet).err = errors.New("no space left on device")
	full := errors.New("the disk is full")
	b.Full = func(error) error { return full }
	if err := b.Run(context.Background()); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	if c := b.Results.Find("w", "B"); c.Status != results.CellPending || c.Failures != 0 || len(log) != 3 || b.Results.Complete {
		t.Errorf("%+v after %q", c, log)
	}
}
