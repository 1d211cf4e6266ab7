package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Answer is what explain says about one workload; -o json prints a list of them.
type Answer struct {
	File      string   `json:"file"`
	Line      int      `json:"line"`
	Kind      string   `json:"kind"`
	Namespace string   `json:"namespace,omitempty"`
	Name      string   `json:"name,omitempty"`
	Class     string   `json:"class"`
	Title     string   `json:"title"`
	Rule      string   `json:"rule,omitempty"` // empty: the default
	RuleAt    string   `json:"rule_at"`
	Because   []string `json:"because,omitempty"`
	Why       string   `json:"why,omitempty"`
	Wall      Wall     `json:"wall,omitempty"` // at least
	Runtime   string   `json:"runtime,omitempty"`
	Has       string   `json:"has,omitempty"` // the runtime it names
	HasWall   Wall     `json:"has_wall,omitempty"`
	Admitted  *bool    `json:"admitted,omitempty"` // nil: it does not say what runs it
	Refused   string   `json:"refused,omitempty"`
	Exempt    string   `json:"exempt,omitempty"`
	Notes     []string `json:"notes,omitempty"`
	Costs     []Cost   `json:"costs,omitempty"`
}

// Explanation is the whole answer.
type Explanation struct {
	Policy    string   `json:"policy"`
	Report    *Origin  `json:"report"`
	Workloads []Answer `json:"workloads"`
}

// Refused counts the workloads that would be refused as they are.
func (e *Explanation) Refused() int {
	n := 0
	for _, a := range e.Workloads {
		if a.Refused != "" {
			n++
		}
	}
	return n
}

// Explain decides each workload and says why.
func (p *Policy) Explain(all []*Facts, r *Report) *Explanation {
	e := &Explanation{Policy: p.file, Report: r.Origin(), Workloads: []Answer{}}
	for _, f := range all {
		e.Workloads = append(e.Workloads, p.answer(p.Decide(f), r))
	}
	return e
}

func (p *Policy) answer(d *Decision, r *Report) Answer {
	f, c := d.Facts, d.Class
	a := Answer{File: f.File, Line: f.Line, Kind: f.Kind, Namespace: f.Namespace, Name: f.Name, Class: c.Name, Title: c.title(),
		Because: d.Because, Why: c.Why, Wall: c.Wall, Runtime: c.Runtime, Refused: d.Refused}
	a.RuleAt = p.place("default")
	if d.Rule != nil {
		a.Rule = d.Rule.Name
		for i, x := range p.Rules {
			if x == d.Rule {
				a.RuleAt = p.place("rules", i)
			}
		}
	}
	if f.RuntimeSaid {
		admitted := d.Refused == ""
		a.Has, a.Admitted = f.Runtime, &admitted
		if d.Have != nil {
			a.HasWall = d.Have.Wall
		}
	}
	if d.Exempt != nil {
		a.Exempt = d.Exempt.Why
		a.Notes = append(a.Notes, "the namespace is exempt: the cluster does not judge it")
	}
	if len(d.Unknown) > 0 {
		a.Notes = append(a.Notes, fmt.Sprintf("the labels of the namespace are not known and were taken for none (rules %s look at them): "+
			"put the Namespace into the file, or give --namespace-label", strings.Join(d.Unknown, ", ")))
	}
	a.Costs = r.Costs(c, d.Runtime)
	return a
}

// JSON writes the answer for programs.
func (e *Explanation) JSON(w io.Writer) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(e); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// Text writes the answer for people.
func (e *Explanation) Text(w io.Writer) error {
	var b strings.Builder
	costs := false
	for i, a := range e.Workloads {
		if i > 0 {
			b.WriteString("\n")
		}
		a.text(&b)
		costs = costs || len(a.Costs) > 0
	}
	if len(e.Workloads) > 0 {
		fmt.Fprintf(&b, "\ncosts    %s\n", e.Report.words(costs))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (o *Origin) words(used bool) string {
	if o == nil {
		return "not measured: no bench report here (bulkhead bench makes one, --report names one)"
	}
	if !used {
		return "no row of the report was asked for"
	}
	return "from " + o.String() + "; ratios are against " + o.Baseline + ", more is dearer"
}

func (a *Answer) text(b *strings.Builder) {
	name := a.Name
	if a.Namespace != "" {
		name = a.Namespace + "/" + name
	}
	fmt.Fprintf(b, "%s %s (%s:%d)\n", printable(a.Kind), printable(name), a.File, a.Line)
	rule := "by default"
	if a.Rule != "" {
		rule = fmt.Sprintf("rule %s", a.Rule)
	}
	fmt.Fprintf(b, "  class    %s (%s): %s, %s\n", a.Class, a.Title, rule, a.RuleAt)
	for _, s := range a.Because {
		fmt.Fprintf(b, "           %s\n", printable(s))
	}
	if a.Why != "" {
		fmt.Fprintf(b, "  why      %s\n", a.Why)
	}
	if a.Runtime != "" {
		fmt.Fprintf(b, "  runtime  %s; the wall must be %s at least (%s)\n", a.Runtime, a.Wall, a.Wall.about())
	}
	a.verdict(b)
	for _, n := range a.Notes {
		fmt.Fprintf(b, "  note     %s\n", n)
	}
	for _, c := range a.Costs {
		fmt.Fprintf(b, "  cost     %s\n", c.words())
	}
}

func (a *Answer) verdict(b *strings.Builder) {
	has := "no runtimeClassName"
	if a.Has != "" {
		has = "runtimeClassName " + printable(a.Has)
	}
	switch {
	case a.Admitted == nil && a.Refused != "":
		fmt.Fprintf(b, "  REFUSED  %s\n", a.Refused)
	case a.Admitted == nil:
	case *a.Admitted:
		fmt.Fprintf(b, "  as it is admitted: %s\n", has)
	case a.Runtime == "":
		fmt.Fprintf(b, "  REFUSED  %s\n", a.Refused)
	default:
		fmt.Fprintf(b, "  REFUSED  as it is (%s): %s; set runtimeClassName: %s\n", has, a.Refused, a.Runtime)
	}
}

func (c *Cost) words() string {
	s := c.Title + ": "
	if c.Missing != "" {
		return s + "no figure, " + c.Missing
	}
	s += c.Value
	if c.Text != "" {
		s += ", " + c.Text
	}
	if c.Verdict != "" && c.Verdict != "dearer" {
		s += ", " + c.Verdict
	}
	return s
}

// printable keeps a manifest's control characters off the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
