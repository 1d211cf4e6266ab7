package policy

import (
	"fmt"
	"strings"
)

// Runbook renders the decision matrix as a page for who runs the cluster.
func (p *Policy) Runbook(r *Report) string {
	b := &page{}
	b.p("# Runbook: which runtime for which workload")
	b.p("")
	b.p("Made by `bulkhead policy render runbook` from %s, version %d; do not edit, render again.", p.file, p.Version)
	b.p("Measured figures: %s.", r.Origin().dated())
	p.matrixPage(b, r)
	p.rulesPage(b)
	p.runtimesPage(b, r)
	p.exemptPage(b)
	p.stepsPage(b)
	return b.String()
}

type page struct{ strings.Builder }

func (b *page) p(format string, args ...any) { fmt.Fprintf(&b.Builder, format+"\n", args...) }

// cell keeps a table whole whatever a text holds.
func cell(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\n", " "), "|", `\|`)
	if s == "" {
		return "–"
	}
	return s
}

func (p *Policy) matrixPage(b *page, r *Report) {
	b.p("\n## The matrix")
	b.p("| workload | runtime | wall, at least | why | cost, measured |")
	b.p("|---|---|---|---|---|")
	for _, c := range p.Classes {
		what := "**" + cell(c.title()) + "** (`" + c.Name + "`)"
		if c.About != "" {
			what += "<br>" + cell(c.About)
		}
		if c.Refuse != "" {
			b.p("| %s | refused | | %s | |", what, cell(c.Refuse))
			continue
		}
		b.p("| %s | `%s` | %s | %s | %s |", what, c.Runtime, c.Wall, cell(c.Why), costCell(c, r.Costs(c, p.runtime(c.Runtime)), r))
	}
	b.p("\nWalls, by how much of the host's kernel a container's code can reach, weakest first:")
	for _, w := range walls {
		b.p("- `%s`: %s.", w, w.about())
	}
	b.p("\nA stronger wall than the class asks for is always admitted. A runtime that is not listed below is not.")
}

func costCell(c *Class, costs []Cost, r *Report) string {
	if len(c.Cost) == 0 {
		return "–"
	}
	if r == nil {
		return "no report; look at " + strings.Join(c.Cost, ", ")
	}
	var out []string
	for _, x := range costs {
		out = append(out, cell(x.words()))
	}
	return strings.Join(out, "<br>")
}

func (p *Policy) rulesPage(b *page) {
	b.p("\n## How a workload gets its class")
	b.p("The first rule that matches decides; a rule matches when all of its conditions hold.")
	b.p("\n| | rule | when | class |")
	b.p("|---|---|---|---|")
	for i, r := range p.Rules {
		b.p("| %d | `%s` | %s | `%s` |", i+1, r.Name, cell(r.Match.words()), r.Class)
	}
	b.p("| | otherwise | | `%s` |", p.Default)
	b.p("\nLabels and annotations of a pod are written by its author: they may raise the wall. A rule that lowers it below `%s`", p.Default)
	b.p("hangs on the namespace, which only the cluster's operator names and labels.")
	for _, r := range p.Rules {
		if r.Unanchored != "" {
			b.p("- `%s` trusts the author: %s", r.Name, r.Unanchored)
		}
	}
}

// words are the conditions, for people.
func (m *Match) words() string {
	var out []string
	list := func(what string, ps Patterns) {
		if len(ps) > 0 {
			out = append(out, what+" "+strings.Join(ps, " or "))
		}
	}
	labels := func(what string, ls map[string]Patterns) {
		for _, k := range sortedKeys(ls) {
			out = append(out, fmt.Sprintf("%s `%s` is %s", what, k, strings.Join(ls[k], " or ")))
		}
	}
	list("namespace", m.Namespace)
	labels("namespace's label", m.NamespaceLabels)
	labels("label", m.Labels)
	labels("annotation", m.Annotations)
	list("service account", m.ServiceAccount)
	list("every image begins with", m.ImageAll)
	list("some image begins with", m.ImageAny)
	list("adds capability", m.Capabilities)
	list("is given", m.Resources)
	var asks []string
	for _, n := range m.Needs {
		for _, known := range needs {
			if known.need == n {
				asks = append(asks, known.about)
			}
		}
	}
	if len(asks) > 0 {
		out = append(out, strings.Join(asks, ", or "))
	}
	return strings.Join(out, "; ")
}

func (p *Policy) runtimesPage(b *page, r *Report) {
	b.p("\n## Runtimes")
	b.p("| RuntimeClass | wall | program on the node | nodes | overhead of a pod | from |")
	b.p("|---|---|---|---|---|---|")
	for _, rt := range p.Runtimes {
		nodes := "all"
		if len(rt.NodeSelector) > 0 {
			var parts []string
			for _, k := range sortedKeys(rt.NodeSelector) {
				parts = append(parts, fmt.Sprintf("`%s=%s`", k, rt.NodeSelector[k]))
			}
			nodes = strings.Join(parts, ", ")
		}
		overhead, from := "none", "–"
		if o, f := r.overhead(rt, p.runtime(p.Absent)); o != nil {
			var parts []string
			if o.Memory != "" {
				parts = append(parts, "memory "+o.Memory)
			}
			if o.CPU != "" {
				parts = append(parts, "cpu "+o.CPU)
			}
			overhead, from = strings.Join(parts, ", "), f
		}
		b.p("| `%s` | %s | `%s` | %s | %s | %s |", rt.Name, rt.Wall, rt.Binary, nodes, overhead, cell(from))
	}
	b.p("\nA pod that names no runtimeClassName runs on `%s` (wall %s).", p.Absent, p.runtime(p.Absent).Wall)
	b.p("The overhead counts a pod's pause container and one container of its own, each behind its wall; a pod of more containers")
	b.p("needs as much again for each, in its containers' own requests. Behind the VM wall the containers of a pod are in one VM, which")
	b.p("the overhead counts once.")
}

func (p *Policy) exemptPage(b *page) {
	b.p("\n## Not judged")
	if len(p.Exempt) == 0 {
		b.p("No namespace is exempt.")
	}
	for _, e := range p.Exempt {
		b.p("- namespace `%s`: %s", e.Namespace, e.Why)
	}
	b.p("- Static pods: a kubelet runs what is in its manifest directory without asking. Whoever writes there owns the node.")
	b.p("- Pods that ran before the policy was installed, until they are made anew.")
}

func (p *Policy) stepsPage(b *page) {
	b.p("\n## What to do")
	b.p("**Bring it in.** Install the runtimes' programs and `bulkhead policy render containerd` on the nodes, and label the nodes. Apply")
	b.p("`bulkhead policy render kubernetes --actions Warn,Audit`, look at the warnings and the audit log for a week, then render without the flag.")
	b.p("\n**A pod was refused.** The message names class and rule. If the class is right, set the runtimeClassName that it names; if it is")
	b.p("wrong, `bulkhead policy explain` shows what matched. Change the namespace's label or the policy, never the pod's label, to lower a wall.")
	b.p("\n**A pod stays Pending.** No node has the labels of its RuntimeClass, or none has room for its overhead.")
	b.p("\n**A workload does not run behind its wall.** Try the class's runtime by hand (`bulkhead do -- …`), read what it refuses")
	b.p("(`bulkhead advise -- …`), and choose a class with the next stronger wall, not a weaker one.")
	b.p("\n**Exempt a namespace.** Only for components that must start before the walls are there. Whoever may make pods in it, or change")
	b.p("the policy's objects or RuntimeClasses, is trusted with every node: keep both to the operators (RBAC).")
}
