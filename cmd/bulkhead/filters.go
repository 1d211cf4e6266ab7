package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"bulkhead.dev/bulkhead/internal/gofer"
	"bulkhead.dev/bulkhead/internal/platform"
	"bulkhead.dev/bulkhead/internal/seccomp"
	"bulkhead.dev/bulkhead/internal/sentry/boot"
	"bulkhead.dev/bulkhead/internal/vm/filters"
)

// shownRule is a rule of a filter as JSON has it; `bulkhead audit` reads it.
type shownRule struct {
	Process string         `json:"process"` // guest, sentry, gofer, hypervisor, virtiofsd, monitor
	Nr      uint32         `json:"nr"`
	Name    string         `json:"name"`
	Checked bool           `json:"checked"` // arguments are looked at
	When    []seccomp.Cond `json:"when,omitempty"`
	Text    string         `json:"text,omitempty"` // When in words
	Reason  string         `json:"reason"`
}

// checkedByCode stands for conditions that are no data (internal/platform).
const checkedByCode = "arguments checked"

func filterRules() []shownRule {
	var out []shownRule
	for _, g := range platform.GuestCalls() {
		s := shownRule{Process: "guest", Nr: g.Nr, Name: g.Name, Checked: g.Checked, Reason: g.Reason}
		if g.Checked {
			s.Text = checkedByCode
		}
		out = append(out, s)
	}
	add := func(process string, rules []seccomp.Rule) {
		for _, r := range rules {
			s := shownRule{Process: process, Nr: r.Nr, Name: r.Name, Checked: len(r.When) > 0, When: r.When, Reason: r.Reason}
			for i, c := range r.When {
				if i > 0 {
					s.Text += ", "
				}
				s.Text += c.String()
			}
			out = append(out, s)
		}
	}
	add("sentry", boot.Filter().Rules)
	add("gofer", gofer.Filter(true).Rules)
	add("hypervisor", filters.QEMU(filters.AnyID, filters.AnyID, true).Allowed())
	add("virtiofsd", filters.Virtiofsd().Allowed())
	add("monitor", filters.Monitor(filters.Everything).Allowed())
	return out
}

// printFilters writes the seccomp filters of both walls' processes.
func printFilters(w io.Writer, args []string) error {
	rules := filterRules()
	if len(args) == 2 && args[0] == "-o" && args[1] == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(rules)
	}
	if len(args) > 0 && !(len(args) == 2 && args[0] == "-o" && args[1] == "text") {
		return fmt.Errorf("want no argument, or -o json")
	}
	calls := map[string][]uint32{}
	for _, r := range rules {
		note := r.Text
		if note != "" {
			note = " [" + note + "]"
		}
		fmt.Fprintf(w, "%-10s %3d  %-18s %s%s\n", r.Process, r.Nr, r.Name, r.Reason, note)
		if !slices.Contains(calls[r.Process], r.Nr) {
			calls[r.Process] = append(calls[r.Process], r.Nr)
		}
	}
	_, err := fmt.Fprintf(w, "host calls that the filters allow: guest %d (from inside the stub only), sentry %d, gofer %d;\n"+
		"VM wall: monitor %d; before the filters that these programs add themselves: hypervisor %d, virtiofsd %d\n",
		len(calls["guest"]), len(calls["sentry"]), len(calls["gofer"]), len(calls["monitor"]), len(calls["hypervisor"]), len(calls["virtiofsd"]))
	return err
}
