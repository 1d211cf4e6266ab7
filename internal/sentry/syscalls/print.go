package syscalls

import (
	"encoding/json"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// shownRow is a row as JSON has it.
type shownRow struct {
	Nr     int    `json:"nr"`
	Name   string `json:"name"`
	State  string `json:"state"` // full, partial, refused
	Lacks  string `json:"lacks,omitempty"`
	Note   string `json:"note,omitempty"`
	Errno  string `json:"errno,omitempty"`
	Reason string `json:"reason,omitempty"`
}

func (r *Row) show() shownRow {
	s := shownRow{Nr: int(r.Nr), Name: r.Name}
	switch {
	case r.Fn == nil:
		s.State, s.Reason = "refused", r.Why
		e := r.Refuse
		if e == 0 {
			e = unix.ENOSYS
		}
		s.Errno = unix.ErrnoName(e)
	case r.Missing != "":
		s.State, s.Lacks = "partial", r.Missing
	default:
		s.State, s.Note = "full", r.Note
	}
	return s
}

// Print writes the table of system calls, with how complete each row is: as
// text, or with "-o json" as JSON.
func Print(w io.Writer, args []string) error {
	asJSON := false
	switch {
	case len(args) == 2 && args[0] == "-o" && args[1] == "json", len(args) == 1 && args[0] == "-ojson":
		asJSON = true
	case len(args) == 0, len(args) == 2 && args[0] == "-o" && args[1] == "text":
	default:
		return fmt.Errorf("want no argument, or -o json")
	}
	var rows []shownRow
	count := map[string]int{}
	for i := range Table {
		if Table[i].Name != "" {
			r := Table[i].show()
			rows = append(rows, r)
			count[r.State]++
		}
	}
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(rows)
	}
	fmt.Fprintf(w, "%3s  %-24s %-8s %s\n", "nr", "call", "state", "what it lacks, what is absent as in a kernel without it, or why it is refused")
	for _, r := range rows {
		note := r.Lacks + r.Note
		if r.State == "refused" {
			note = r.Errno
			if r.Reason != "" {
				note += ": " + r.Reason
			}
		}
		fmt.Fprintf(w, "%3d  %-24s %-8s %s\n", r.Nr, r.Name, r.State, note)
	}
	_, err := fmt.Fprintf(w, "%d full, %d partial, %d refused\n", count["full"], count["partial"], count["refused"])
	return err
}
