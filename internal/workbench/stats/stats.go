// Package stats owns the workbench's statistics: medians with an interval that
// assumes nothing about the distribution, ratios paired pass by pass, and the
// verdict whether a difference is more than noise.
//
// It holds no state.
package stats

import (
	"math"

	"golang.org/x/perf/benchmath"

	"bulkhead.dev/bulkhead/internal/workbench/results"
)

// Confidence is what an interval aims at; with few samples a rank interval
// cannot reach it, and Summary.Confidence says what it does reach.
const Confidence = 0.95

// Summary is a median and the interval around it.
type Summary struct {
	Median     float64
	Lo, Hi     float64
	Min, Max   float64
	N          int
	Confidence float64
}

// OK says whether there is anything to show.
func (s Summary) OK() bool { return s.N > 0 }

// Summarize gives the median and its interval by order statistics. Below six
// samples no such interval reaches 95 %: then it is the whole range, with the
// confidence that a range of N samples has, 1 - 2^(1-N).
func Summarize(values []float64) Summary {
	clean := finite(values)
	if len(clean) == 0 {
		return Summary{}
	}
	sample := benchmath.NewSample(clean, &benchmath.DefaultThresholds)
	b := benchmath.AssumeNothing.Summary(sample, Confidence)
	s := Summary{Median: b.Center, Lo: b.Lo, Hi: b.Hi, N: len(clean), Confidence: b.Confidence,
		Min: sample.Values[0], Max: sample.Values[len(clean)-1]}
	if math.IsInf(s.Lo, 0) || math.IsInf(s.Hi, 0) || math.IsNaN(s.Lo) || math.IsNaN(s.Hi) {
		s.Lo, s.Hi = s.Min, s.Max
		s.Confidence = 1 - math.Pow(2, float64(1-s.N))
	}
	return s
}

func finite(values []float64) []float64 {
	out := make([]float64, 0, len(values))
	for _, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			out = append(out, v)
		}
	}
	return out
}

// Cost is the paired ratio of a runtime against the baseline, turned so that
// more than 1 always means dearer: value/baseline where lower is better,
// baseline/value where higher is.
func Cost(value, baseline []results.Sample, better string) Summary {
	base := map[int]float64{}
	for _, b := range baseline {
		base[b.Pass] = b.Value
	}
	var ratios []float64
	for _, v := range value {
		b, ok := base[v.Pass]
		if !ok || b <= 0 || v.Value <= 0 {
			continue
		}
		if better == "higher" {
			ratios = append(ratios, b/v.Value)
			continue
		}
		ratios = append(ratios, v.Value/b)
	}
	return Summarize(ratios)
}

// Verdict is what an interval of ratios says.
type Verdict int

const (
	Unknown Verdict = iota // too few pairs to tell
	Noise                  // the interval holds 1: no difference was shown
	Cheaper
	Dearer
)

// MinPairs is how many pairs a verdict takes: the range of five holds the median
// with a confidence of 94 %.
const MinPairs = 5

// Judge reads the verdict off the interval of a paired ratio.
func Judge(s Summary) Verdict {
	switch {
	case s.N < MinPairs:
		return Unknown
	case s.Lo > 1:
		return Dearer
	case s.Hi < 1:
		return Cheaper
	}
	return Noise
}

// DifferP is the p-value of the Mann-Whitney U test that two independent
// samples come from one distribution, 1 when it cannot be computed.
func DifferP(a, b []float64) float64 {
	a, b = finite(a), finite(b)
	if len(a) == 0 || len(b) == 0 {
		return 1
	}
	t := &benchmath.DefaultThresholds
	return benchmath.AssumeNothing.Compare(benchmath.NewSample(a, t), benchmath.NewSample(b, t)).P
}

// LeastP is the least p-value that the test can give with so many samples, all
// of one side below all of the other: two of all orders.
func LeastP(n, m int) float64 {
	orders := 1.0
	for i := 1; i <= m; i++ {
		orders *= float64(n+i) / float64(i)
	}
	return min(1, 2/orders)
}
