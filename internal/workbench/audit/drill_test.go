package audit

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"bulkhead.dev/bulkhead/internal/gofer"
	"bulkhead.dev/bulkhead/internal/platform"
	"bulkhead.dev/bulkhead/internal/seccomp"
	"bulkhead.dev/bulkhead/internal/sentry/boot"
	"bulkhead.dev/bulkhead/internal/sentry/syscalls"
	"bulkhead.dev/bulkhead/internal/vm/filters"
	"bulkhead.dev/bulkhead/internal/workbench/drive"
)

const drillPage = "../../../docs/hardening.md"

// staticNow makes the static part from the tables in the code.
func staticNow(t *testing.T) string {
	t.Helper()
	var raw bytes.Buffer
	if err := syscalls.Print(&raw, []string{"-o", "json"}); err != nil {
		t.Fatal(err)
	}
	var table []tableRow
	if err := json.Unmarshal(raw.Bytes(), &table); err != nil {
		t.Fatal(err)
	}
	var rules []filterRule
	for _, g := range platform.GuestCalls() {
		r := filterRule{Process: roleGuest, Name: g.Name, Reason: g.Reason}
		if g.Checked {
			r.Text = "arguments checked"
		}
		rules = append(rules, r)
	}
	add := func(role string, from []seccomp.Rule) {
		for _, r := range from {
			var when []string
			for _, c := range r.When {
				when = append(when, c.String())
			}
			rules = append(rules, filterRule{Process: role, Name: r.Name, Text: strings.Join(when, ", "), Reason: r.Reason})
		}
	}
	add(roleSentry, boot.Filter().Rules)
	add(roleGofer, gofer.Filter(true).Rules)
	add(roleHypervisor, filters.QEMU(filters.AnyID, filters.AnyID, true).Allowed())
	add(roleVirtiofsd, filters.Virtiofsd().Allowed())
	add(roleMonitor, filters.Monitor(filters.Everything).Allowed())
	s, err := defaultProfile(drive.DefaultCapabilities())
	if err != nil {
		t.Fatal(err)
	}
	return staticDrill(table, rules, describeProfile(s))
}

// TestDrillIsCurrent: the static part of docs/hardening.md is what the code says.
func TestDrillIsCurrent(t *testing.T) {
	page, err := os.ReadFile(drillPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), staticBegin+"\n")
	_, after, ok2 := strings.Cut(rest, staticEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no static part", drillPage)
	}
	now := staticNow(t)
	if rest[:len(rest)-len(after)-len(staticEnd)] == now {
		return
	}
	if *update {
		if err := os.WriteFile(drillPage, []byte(before+staticBegin+"\n"+now+staticEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s is not current: make audit makes it again; go test -run DrillIsCurrent -update ./internal/workbench/audit its static part", drillPage)
}

// TestTargets: how many host calls each process may have at most.
func TestTargets(t *testing.T) {
	for role, n := range map[string]int{roleGuest: len(platform.GuestCalls()), roleSentry: len(boot.Filter().Calls()), roleGofer: len(gofer.Filter(true).Calls())} {
		if n > targets[role] {
			t.Errorf("the %s's filter allows %d host calls, at most %d are wanted", role, n, targets[role])
		}
	}
}
