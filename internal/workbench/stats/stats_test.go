package stats

import (
	"math"
	"testing"

	"bulkhead.dev/bulkhead/internal/workbench/results"
)

func TestSummarize(t *testing.T) {
	for _, c := range []struct {
		name           string
		in             []float64
		median, lo, hi float64
		n              int
		conf           float64
	}{
		{"one", []float64{5}, 5, 5, 5, 1, 0},
		{"three take the range", []float64{3, 1, 2}, 2, 1, 3, 3, 0.75},
		{"five take the range", []float64{5, 4, 3, 2, 1}, 3, 1, 5, 5, 0.9375},
		{"infinities are no samples", []float64{math.Inf(1), 1, math.NaN(), 3}, 2, 1, 3, 2, 0.5},
	} {
		s := Summarize(c.in)
		if s.Median != c.median || s.Lo != c.lo || s.Hi != c.hi || s.N != c.n || s.Confidence != c.conf {
			t.Errorf("%s: got %+v", c.name, s)
		}
	}
	if Summarize(nil).OK() {
		t.Error("a summary of nothing claims to be one")
	}
}

// An outlier must not move the median or a large sample's interval.
func TestSummarizeRobust(t *testing.T) {
	var v []float64
	for i := range 20 {
		v = append(v, 10+float64(i%5)/10)
	}
	v = append(v, 1000)
	s := Summarize(v)
	if s.Median < 10 || s.Median > 10.5 || s.Hi > 10.5 || s.Max != 1000 || s.Confidence < 0.95 {
		t.Errorf("got %+v", s)
	}
}

func samples(v ...float64) []results.Sample {
	var out []results.Sample
	for i, x := range v {
		out = append(out, results.Sample{Pass: i, Value: x})
	}
	return out
}

func TestCostIsPaired(t *testing.T) {
	// The machine slows down fivefold midway; pairs do not notice.
	base := samples(1, 1, 5, 5, 1, 1)
	mine := samples(2, 2, 10, 10, 2, 2)
	if s := Cost(mine, base, "lower"); s.Median != 2 || s.Lo != 2 || s.Hi != 2 || s.N != 6 {
		t.Errorf("lower: got %+v", s)
	}
	if s := Cost(mine, base, "higher"); s.Median != 0.5 {
		t.Errorf("higher: got %+v", s)
	}
	if s := Cost(mine, base[2:4], "lower"); s.N != 2 {
		t.Errorf("only common passes pair: got %+v", s)
	}
	if s := Cost(mine, samples(0, 0), "lower"); s.OK() {
		t.Errorf("a ratio to zero: got %+v", s)
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		s    Summary
		want Verdict
	}{
		{Summary{N: 4, Lo: 2, Hi: 2}, Unknown},
		{Summary{N: 6, Lo: 0.9, Hi: 1.1}, Noise},
		{Summary{N: 6, Lo: 1.01, Hi: 1.1}, Dearer},
		{Summary{N: 6, Lo: 0.5, Hi: 0.99}, Cheaper},
	} {
		if got := Judge(c.s); got != c.want {
			t.Errorf("%+v: got %v, want %v", c.s, got, c.want)
		}
	}
}

func TestDifferP(t *testing.T) {
	a := []float64{1, 2, 3, 4, 5, 6, 7}
	b := []float64{11, 12, 13, 14, 15, 16, 17}
	if p := DifferP(a, b); p > 0.01 {
		t.Errorf("apart: p = %v", p)
	}
	if p := DifferP(a, a); p < 0.5 {
		t.Errorf("same: p = %v", p)
	}
	if p := DifferP(a, nil); p != 1 {
		t.Errorf("nothing: p = %v", p)
	}
}

// The least p-value is what the test itself says of samples that do not overlap.
func TestLeastP(t *testing.T) {
	for n := 1; n <= 7; n++ {
		var a, b []float64
		for i := range n {
			a, b = append(a, float64(i)), append(b, float64(100+i))
		}
		if got, want := DifferP(a, b), LeastP(n, n); math.Abs(got-want) > 1e-9 {
			t.Errorf("%d samples: the test says %v, LeastP %v", n, got, want)
		}
	}
}
