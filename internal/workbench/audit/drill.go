package audit

import (
	"fmt"
	"slices"
	"strings"
)

// The static part of the drill's document stands between these lines: a test
// makes it again from the tables in the code.
const (
	staticBegin = "<!-- static: made from the tables in the code -->"
	staticEnd   = "<!-- end of the static part -->"
)

// Drill is the hardening drill as a document: the calls that each wall does not
// implement or refuses, beside the default profile.
func Drill(r *Record) string {
	var b strings.Builder
	b.WriteString("# The hardening drill\n\nWhich system calls does each wall not implement, and which would it refuse, beside the default seccomp profile?\n" +
		"This page is made by the tool: `bulkhead audit --out DIR` writes it as hardening.md (`make audit` puts it here).\n\n")
	b.WriteString(staticBegin + "\n" + staticDrill(r.Table, r.rulesOf(), r.Profile) + staticEnd + "\n")
	measuredDrill(&b, r)
	return b.String()
}

// rulesOf gathers the rules of our own filters out of the walls.
func (r *Record) rulesOf() []filterRule {
	var out []filterRule
	for _, w := range r.Walls {
		for _, p := range w.Processes {
			for _, rule := range p.Rules {
				out = append(out, filterRule{Process: p.Role, Name: rule.Call, Text: rule.When, Reason: rule.Reason})
			}
		}
	}
	return out
}

// staticDrill needs no measurement: the Sentry's table, our filters, the profile.
func staticDrill(table []tableRow, rules []filterRule, p *profile) string {
	var b strings.Builder
	rows := map[string]tableRow{}
	count := map[string]int{}
	for _, t := range table {
		rows[t.Name] = t
		count[t.State]++
	}
	fmt.Fprintf(&b, "\n## In numbers\n\n| | calls |\n|---|---|\n| the default profile (%s) allows | %d |\n| it allows by their arguments | %d |\n| it refuses | %d |\n",
		p.Module, len(p.Free), len(p.Checked), len(p.Refused))
	fmt.Fprintf(&b, "| Bulkhead's Sentry answers in full | %d |\n| in part | %d |\n| it refuses | %d |\n", count["full"], count["partial"], count["refused"])
	for _, role := range drillRoles {
		fmt.Fprintf(&b, "| host calls that the filter of %s allows | %d |\n", whose[role], distinct(rules, role))
	}
	group := func(title, about string, keep func(t tableRow, a allowance) bool) {
		var list [][]cell
		for nr := uint32(0); nr <= lastNumber; nr++ {
			name := callNames().byNr[nr]
			t, ok := rows[name]
			if name == "" || !ok || !keep(t, p.allows(name)) {
				continue
			}
			list = append(list, []cell{plain("`" + name + "`"), plain(profileWords[p.allows(name)]), plain(tableWords(t))})
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s %d calls.\n", title, about, len(list))
		mdTable(&b, []string{"call", "default profile", "Bulkhead's Sentry"}, list)
	}
	group("Refused by the Sentry, allowed by the profile", "What works in a container under the default profile, and not behind the Sentry.",
		func(t tableRow, a allowance) bool { return t.State == "refused" && a != never })
	group("Refused by both", "Neither lets a program have these.",
		func(t tableRow, a allowance) bool { return t.State == "refused" && a == never })
	group("Refused by the profile, answered by the Sentry", "Here the Sentry gives more than the profile, without the host's kernel: it answers by itself.",
		func(t tableRow, a allowance) bool { return t.State != "refused" && a == never })
	group("Answered in part by the Sentry", "What is missing answers with the errno of a kernel built without it.",
		func(t tableRow, a allowance) bool { return t.State == "partial" })
	b.WriteString("\n## Host calls that stay in reach\n\nOf the host's own kernel, by process; a guest's are open only to the stub inside it, and a process that breaks the rule is killed. " +
		"Behind the VM wall guest code makes none; QEMU and virtiofsd live under these from their first instruction, and under filters of their own on top: " +
		"what an intruder would call ends them, other calls that are not listed get ENOSYS. The monitor, which starts them, takes its own before it reads a byte from the guest, " +
		"with the parts that its sandbox needs: a call outside it ends the sandbox.\n")
	for _, role := range drillRoles {
		var list [][]cell
		for _, r := range rules {
			if r.Process == role {
				list = append(list, []cell{plain("`" + r.Name + "`"), plain(r.Text), plain(r.Reason)})
			}
		}
		fmt.Fprintf(&b, "\n### The %s: %d\n", roleWord(role), distinct(rules, role))
		mdTable(&b, []string{"host call", "only if", "why"}, list)
	}
	return b.String()
}

// drillRoles are the processes whose filters are ours.
var drillRoles = []string{roleGuest, roleSentry, roleGofer, roleHypervisor, roleVirtiofsd, roleMonitor}

var whose = map[string]string{roleGuest: "its guest", roleSentry: "its Sentry", roleGofer: "its Gofer",
	roleHypervisor: "the VM wall's hypervisor", roleVirtiofsd: "the VM wall's virtiofsd", roleMonitor: "the VM wall's monitor"}

var (
	processWords = map[string]string{roleGuest: "guest", roleSentry: "Sentry", roleGofer: "Gofer"}
	profileWords = map[allowance]string{never: "refused", some: "by arguments", always: "allowed"}
)

func distinct(rules []filterRule, role string) int {
	var names []string
	for _, r := range rules {
		if r.Process == role && !slices.Contains(names, r.Name) {
			names = append(names, r.Name)
		}
	}
	return len(names)
}

func tableWords(t tableRow) string {
	switch t.State {
	case "refused":
		if t.Reason != "" {
			return t.Errno + ": " + t.Reason
		}
		return t.Errno
	case "partial":
		return "in part; not: " + t.Lacks
	}
	return "in full"
}

// measuredDrill is what the probe saw, beside the profile.
func measuredDrill(b *strings.Builder, r *Record) {
	fmt.Fprintf(b, "\n## Measured\n\n%s Every call was made inside each runtime; shown are those that at least one of them refused or did not implement and this host's kernel has. Risky arguments follow.\n", r.subtitle())
	var cols []*Column
	for _, c := range r.live() {
		if c.Kernel != onHost && c.Name != openColumn {
			cols = append(cols, c)
		}
	}
	head := []string{"call", "profile says"}
	for _, c := range cols {
		head = append(head, c.Title)
	}
	drillReach(b, r)
	for _, family := range []string{familyCalls, familyWide} {
		var rows [][]cell
		for _, cs := range r.Cases {
			if cs.Family != family || lacking(cs.Results[hostColumn]) || callNames().byName[cs.Call] == 0 && cs.Call != "read" {
				continue
			}
			row, refused := []cell{plain("`" + cs.Call + "`"), plain(profileWords[r.Profile.allows(cs.Call)])}, false
			if cs.About != "" {
				row[0].text += " " + cs.About
			}
			for _, c := range cols {
				k := r.classOf(cs, c)
				refused = refused || k == classRefused || k == classKilled
				row = append(row, plain(r.drillCell(cs, c, k)))
			}
			if refused {
				rows = append(rows, row)
			}
		}
		fmt.Fprintf(b, "\n### %s: %d\n", map[string]string{familyCalls: "Calls", familyWide: "Risky arguments"}[family], len(rows))
		mdTable(b, head, rows)
	}
}

// drillReach is what is left of the host's kernel, process by process: what the
// filters of live processes let through, what a traced run made, and which rules
// of our own it never needed.
func drillReach(b *strings.Builder, r *Record) {
	var rows [][]cell
	var never []string
	for _, w := range r.Walls {
		if w.Kernel == onShared {
			continue
		}
		for _, p := range w.Processes {
			made := ""
			if p.Traced {
				made = fmt.Sprint(len(p.Made))
			}
			rows = append(rows, []cell{plain(w.Title), plain(roleWord(p.Role)), plain(fmt.Sprint(p.Reach())), plain(fmt.Sprint(len(p.Checked))), plain(fmt.Sprint(len(r.wider(p)))), plain(made)})
			var names []string
			for _, u := range p.unused() {
				names = append(names, fmt.Sprintf("%s (%s)", u.Call, u.Reason))
			}
			if len(names) > 0 {
				never = append(never, fmt.Sprintf("%s, %s: rules that the traced run never needed: %s.", w.Title, roleWord(p.Role), strings.Join(names, ", ")))
			}
		}
	}
	if len(rows) == 0 {
		return
	}
	b.WriteString("\n### Host calls, by process\n\nRead back from live processes: all their filters together. Made: in a run of many kinds of work, under trace.\n")
	mdTable(b, []string{"wall", "process", "allowed", "of these by arguments", "not allowed by the profile", "made"}, rows)
	for _, n := range never {
		b.WriteString("\n" + n + "\n")
	}
}

func (r *Record) drillCell(cs *CaseResults, c *Column, k class) string {
	switch k {
	case classRefused, classKilled:
		return "**" + cs.Results[c.Name] + "**"
	case classNone:
		return ""
	case classCaps:
		return "EPERM, a capability"
	}
	return "answered"
}
