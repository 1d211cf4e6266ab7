package rounds

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"bulkhead.dev/bulkhead/internal/workbench/results"
)

func TestLevel(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		wants  []float64
		budget float64
		want   float64
	}{
		{[]float64{1, 2, 3}, 6, inf}, // enough for all
		{[]float64{1, 2, 30}, 13, 10},
		{[]float64{30, 1, 20}, 13, 6},
		{[]float64{inf, 2, inf}, 10, 4},
		{[]float64{5, 5}, 0, 0},
		{[]float64{5, 5}, -3, 0},
		{nil, 1, inf},
	} {
		if got := level(c.wants, c.budget); got != c.want {
			t.Errorf("level(%v, %v) = %v, want %v", c.wants, c.budget, got, c.want)
		}
	}
}

// known makes a cell that had one run, its warm-up, of so many seconds.
func known(b *Bench, w, r int, spent float64) *results.Cell {
	c := b.cell(b.Workloads[w], b.Runtimes[r])
	c.Spent, c.Runs, c.Warmed = spent, 1, true
	return c
}

const warm2 = warm + "  - {name: w2, command: [x], metrics: [{name: t, source: wall}]}\n"

// With a time limit a slow cell gets fewer samples, and the others all of theirs.
func TestSlowCellDoesNotStarveOthers(t *testing.T) {
	var log []string
	b := bench(&log, workloads(t, warm), "A", "B")
	b.Rounds, b.Deadline = 4, time.Now().Add(time.Hour)
	slow := known(b, 0, 1, 3*3600)
	if err := b.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	// The first run leaves nothing for a second; one sample there is in any case.
	if a := b.Results.Find("w", "A"); a.Count() != 4 || slow.Count() != 1 {
		t.Errorf("A has %d samples, B %d", a.Count(), slow.Count())
	}
}

// What a runtime with a share may take: its share, or what the others leave.
func TestShares(t *testing.T) {
	var log []string
	b := bench(&log, workloads(t, warm2), "A", "B", "C")
	b.Rounds, b.Deadline = 10, time.Now().Add(1000*time.Second)
	b.Runtimes[1].TimeShare, b.Runtimes[2].TimeShare = 0.3, 0.1
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 0.02*want {
			t.Errorf("%s may take %v, want %v", what, got, want)
		}
	}
	// A would take 2 × 10 × 100 s: B and C have their shares only, and A the rest.
	known(b, 0, 0, 100)
	known(b, 1, 0, 100)
	total := 1000*margin + 200
	limits := b.limits()
	near("A", limits[b.Runtimes[0]].each, total*0.6/2)
	near("B", limits[b.Runtimes[1]].each, total*0.3/2)
	near("C", limits[b.Runtimes[2]].each, total*0.1/2)
	// A needs little: the others have what it leaves, three parts to one.
	known(b, 0, 0, 1)
	known(b, 1, 0, 1)
	limits = b.limits()
	rest := 1000*margin + 2 - 22
	if got := limits[b.Runtimes[0]].each; !math.IsInf(got, 1) {
		t.Errorf("A has enough and may take %v", got)
	}
	near("B", limits[b.Runtimes[1]].each, rest*0.75/2)
	near("C", limits[b.Runtimes[2]].each, rest*0.25/2)
}

// A run that does not fit into its runtime's share is stopped, and its cell says
// so; where two do not fit, the first is what there is.
func TestShareOfASlowRuntime(t *testing.T) {
	var log []string
	b := bench(&log, workloads(t, warm2), "A", "B")
	b.Rounds, b.Deadline = 3, time.Now().Add(10*time.Second)
	b.Runtimes[1].TimeShare = 0.05
	known(b, 1, 1, 0.01).Keep(0, map[string]float64{"t": 1}) // so much is usual, and worth beginning
	b.Runtimes[1].Driver.(*puppet).hang = true
	for round := range 2 {
		if err := b.pass(context.Background(), b.Workloads[0], round, round); err != nil {
			t.Fatal(err)
		}
		if c := b.cell(b.Workloads[0], b.Runtimes[1]); round == 0 && c.Runs != 0 {
			t.Errorf("a runtime with a share runs in the first round: %+v", c)
		}
	}
	c := b.Results.Find("w", "B")
	if c.Status != results.CellSkipped || !strings.Contains(c.Why, "one run takes more than") || !strings.Contains(c.Why, "5 %") {
		t.Errorf("%+v", c)
	}
	if a := b.Results.Find("w", "A"); a.Count() != 2 {
		t.Errorf("A has %d samples", a.Count())
	}

	b = bench(&log, workloads(t, warm2), "A", "B")
	b.Rounds, b.Deadline = 3, time.Now().Add(time.Hour)
	b.Runtimes[1].TimeShare = 0.3
	c = b.cell(b.Workloads[0], b.Runtimes[1])
	c.Spent = 3600 // what it has used up so far, in a session before this one
	b.warmUp(context.Background(), b.Workloads[0], b.Runtimes[1], c, 0)
	if c.Count() != 1 || c.Status != results.CellOK || len(b.Results.Notes) != 1 {
		t.Errorf("the only run that fits does not count: %+v, %q", c, b.Results.Notes)
	}

	b.leftOver(b.Workloads)
	if c := b.Results.Find("w2", "B"); c.Status != results.CellSkipped || !strings.Contains(c.Why, "have used it up") {
		t.Errorf("not reached: %+v", c)
	}
	if c := b.Results.Find("w2", "A"); c.Status != results.CellPending {
		t.Errorf("of a runtime without a share: %+v", c)
	}
}

// A slow runtime's few samples have pairs: the baseline runs beside it even
// where it has used up its own part of the time.
func TestBaselineRunsBesideASlowRuntime(t *testing.T) {
	var log []string
	b := bench(&log, workloads(t, warm2), "A", "B", "C")
	b.Rounds, b.Deadline = 10, time.Now().Add(100*time.Second)
	b.Runtimes[2].TimeShare = 0.5
	for i := range 2 {
		known(b, 0, i, 60).Keep(0, map[string]float64{"t": 1})
	}
	turn := b.turn(b.Workloads[0], 1, 1)
	if !turn[b.Runtimes[0]] || turn[b.Runtimes[1]] || !turn[b.Runtimes[2]] {
		t.Errorf("A, the baseline, and C, the slow one, are to run: %v", turn)
	}
	b.cell(b.Workloads[0], b.Runtimes[2]).Status = results.CellFailed
	if turn := b.turn(b.Workloads[0], 1, 1); len(turn) > 0 {
		t.Errorf("nobody can afford it: %v", turn)
	}
}
