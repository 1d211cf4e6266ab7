package word

import (
	"strings"
	"testing"
)

// A part of /proc/timer_list (6.1) of a machine whose timer comes late.
const listed = `Timer List Version: v0.9
HRTIMER_MAX_CLOCK_BASES: 8
now at 1218004216 nsecs

cpu: 0
 clock 0:
  .base:               0000000000000000
  .index:      0
  .resolution: 1 nsecs
  .get_time:   ktime_get
  .offset:     0 nsecs
active timers:
 #0: <0000000000000000>, tick_sched_timer, S:01
Tick Device: mode:     1
Broadcast device
Clock Event Device: <NULL>
tick_broadcast_mask: 0

Tick Device: mode:     1
Per CPU device: 0
Clock Event Device: lapic
 max_delta_ns:   24532666368
 min_delta_ns:   1000
 mult:           375423091
 shift:          32
 mode:           3
 next_event:     1220000000 nsecs
`

func TestTimersOf(t *testing.T) {
	const hz = 62_500_000
	for _, c := range []struct {
		what string
		text string
		hz   uint64
		want uint64
	}{
		{"late", listed, hz, 1398},
		{"right", strings.Replace(listed, "375423091", "268435456", 1), hz, 1000},
		{"early", strings.Replace(listed, "375423091", "135691975", 1), hz, 505},
		{"another rate", listed, 2 * hz, 699},
		{"no timer of its own", strings.Replace(listed, "Device: lapic", "Device: hpet", 1), hz, 0},
		{"no number", strings.Replace(listed, "375423091", "x", 1), hz, 0},
		{"a number that is none", strings.Replace(listed, "375423091", "99999999999999999999", 1), hz, 0},
		{"no shift", strings.Replace(listed, "shift:          32", "shift:          99", 1), hz, 0},
		{"cut off", listed[:strings.Index(listed, "375423091")], hz, 0},
		{"nothing", "", hz, 0},
		{"no rate", listed, 0, 0},
	} {
		if got := timersOf([]byte(c.text), c.hz); got != c.want {
			t.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
	}
	for timers, wrong := range map[uint64]bool{0: false, 1: true, 505: true, 667: false, 1000: false, 1050: false, 1051: true, 1398: true} {
		if g := (Greeting{Timers: timers}); g.TimersWrong() != wrong {
			t.Errorf("%d: wrong %v", timers, !wrong)
		}
	}
}
