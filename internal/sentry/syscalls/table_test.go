package syscalls

import "testing"

// lastNr is the last number that Linux had given out when the table was made.
const lastNr = 470

// unusedNr tells of the gap that x86-64 leaves for other tables' numbers.
func unusedNr(nr int) bool { return nr >= 335 && nr <= 423 }

func TestEveryCallHasARow(t *testing.T) {
	names := map[string]int{}
	for nr := range lastNr + 1 {
		r := &Table[nr]
		switch {
		case unusedNr(nr):
			if r.Name != "" {
				t.Errorf("call %d does not exist, and has a row %q", nr, r.Name)
			}
			continue
		case r.Name == "":
			t.Errorf("call %d has no row", nr)
			continue
		case int(r.Nr) != nr:
			t.Errorf("row %d is of call %d", nr, r.Nr)
		case r.Fn == nil && (r.Refuse == 0 || r.Why == ""):
			t.Errorf("%s is refused without an errno or a reason", r.Name)
		case r.Fn != nil && r.Refuse != 0:
			t.Errorf("%s is both refused and not", r.Name)
		}
		if n, ok := names[r.Name]; ok {
			t.Errorf("calls %d and %d are both %q", n, nr, r.Name)
		}
		names[r.Name] = nr
	}
}
