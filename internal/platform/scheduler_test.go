package platform

import "testing"

// TestSpinnersAndAhead: pairs that spin have two CPUs each, and leave one to who
// works ahead, for as long as that may take.
func TestSpinnersAndAhead(t *testing.T) {
	defer sched.ahead.Store(0)
	for _, c := range []struct {
		cpus, spinners int
		ahead, may     bool
	}{
		{1, 0, false, false}, {2, 0, false, true}, {2, 1, false, false}, {2, 0, true, false},
		{3, 0, true, true}, {4, 1, false, true}, {4, 1, true, false}, {5, 1, true, true},
	} {
		s := &scheduler{cpus: c.cpus}
		s.spinners.Store(int32(c.spinners))
		Ahead(c.ahead)
		s.ahead.Store(sched.ahead.Load())
		if got := s.mayS(); got != c.may {
			t.Errorf("%+v: %v", c, got)
		}
		want := int32(c.spinners)
		if c.may {
			want++
		}
		if s.spinners.Load() != want {
			t.Errorf("%+v: %d spin then", c, s.spinners.Load())
		}
	}
	s := &scheduler{cpus: 2}
	s.ahead.Store(rdtsc() - 1)
	if !s.mayS() {
		t.Error("a reply that must lie there keeps the CPU")
	}
}
