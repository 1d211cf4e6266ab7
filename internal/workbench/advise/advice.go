package advise

import (
	"fmt"
	"strings"
)

// Runs is one command in one place.
type Runs struct {
	Place  string    `json:"place"` // sentry, runc, native
	Exit   int       `json:"exit"`
	Times  []float64 `json:"seconds"`
	Median float64   `json:"median_seconds"`
	Why    string    `json:"why,omitempty"` // it was not run
}

// Advice is what advise says.
type Advice struct {
	Schema    int       `json:"schema"`
	Command   []string  `json:"command"`
	Recommend string    `json:"recommend"` // a runtime's name, or "unclear"
	Reasons   []string  `json:"reasons"`
	Sentry    *Runs     `json:"sentry"`
	Baseline  *Runs     `json:"baseline,omitempty"`
	Ratio     float64   `json:"ratio,omitempty"` // Sentry to baseline
	Calls     uint64    `json:"calls_total"`
	Rate      float64   `json:"calls_per_second,omitempty"`
	Top       []Call    `json:"calls"`
	Refused   []Refusal `json:"refused,omitempty"`
}

// Schema is the version of the JSON's layout.
const Schema = 1

// Names of what is recommended: those of the runtimes in bench and policy.
const (
	useSentry = "bulkhead"
	useVM     = "bulkhead-vm"
	unclear   = "unclear"
)

// denseCalls is where a program's time goes into its calls: the wall's price
// per call is what it feels.
const denseCalls = 20000

// judge recommends, from the counts and the runs. dear is the ratio above which
// the Sentry is called dear.
func (a *Advice) judge(dear float64) {
	say := func(format string, args ...any) { a.Reasons = append(a.Reasons, fmt.Sprintf(format, args...)) }
	missing := a.missing()
	fails := a.Sentry.Exit != 0
	same := a.Baseline != nil && a.Baseline.Why == "" && a.Baseline.Exit == a.Sentry.Exit
	switch {
	case fails && a.Baseline != nil && a.Baseline.Why == "" && !same && len(missing) > 0:
		a.Recommend = useVM
		say("Behind the Sentry it ends with status %d, and with %d by %s; it was refused %s, which a kernel of its own has.", a.Sentry.Exit, a.Baseline.Exit, a.Baseline.Place, strings.Join(missing, ", "))
	case fails && a.Baseline != nil && a.Baseline.Why == "" && !same:
		a.Recommend = unclear
		say("Behind the Sentry it ends with status %d, and with %d by %s, though no call was refused: bulkhead do --strace -- CMD shows where it goes wrong.", a.Sentry.Exit, a.Baseline.Exit, a.Baseline.Place)
	case fails && !same && len(missing) > 0:
		a.Recommend = useVM
		say("It ends with status %d, and was refused %s, which a kernel of its own has; whether that is why is not known without a run to compare with.", a.Sentry.Exit, strings.Join(missing, ", "))
	case fails && !same:
		a.Recommend = unclear
		say("It ends with status %d, and no call was refused; there was no run to compare with.", a.Sentry.Exit)
	case a.Ratio > dear:
		a.judgeDear(say, dear)
	default:
		a.Recommend = useSentry
		if fails {
			say("It ends with status %d in both places: the wall does not change that.", a.Sentry.Exit)
		} else {
			say("It works behind the Sentry: status 0.")
		}
	}
	a.sayCost(say, dear)
	a.sayRefused(say, missing, fails && !same)
	if a.Recommend != unclear {
		say("runc and crun would do only if you trust this code as you trust the host: there every bug of the host's kernel in a call that the profile leaves is in its reach.")
	}
}

// judgeDear: it works, but costs more than dear.
func (a *Advice) judgeDear(say func(string, ...any), dear float64) {
	if a.Rate >= denseCalls {
		a.Recommend = useVM
		say("It makes some %.0f calls a second, and the Sentry answers each: that is where the time goes. In a virtual machine with KVM calls cost what they cost natively.", a.Rate)
		return
	}
	a.Recommend = useSentry
	if a.Baseline.Median < 0.2 {
		say("It works behind the Sentry. The ratio is that of a run of %.0f ms, most of it the start: measure a longer one before judging.", 1000*a.Baseline.Median)
		return
	}
	say("It works behind the Sentry, above the limit of %.2g × (--max-cost), without many calls: its cost is in starting processes, in faults, or in the machine's load.", dear)
}

func (a *Advice) sayCost(say func(string, ...any), dear float64) {
	switch {
	case a.Ratio > 0:
		say("It costs %.2f × %s (medians %.3f s and %.3f s over %d runs each; start included).", a.Ratio, a.Baseline.Place, a.Sentry.Median, a.Baseline.Median, len(a.Sentry.Times))
	case a.Baseline != nil && a.Baseline.Why != "":
		say("What it costs is not known: %s.", a.Baseline.Why)
	}
	say("It made %d calls.", a.Calls)
}

func (a *Advice) sayRefused(say func(string, ...any), missing []string, broke bool) {
	switch {
	case len(a.Refused) == 0:
		say("No call was refused for want of being implemented.")
	case len(missing) == 0:
		say("Refused were only calls that programs ask for and do without.")
	case !broke:
		say("Refused, and it did without: %s.", strings.Join(missing, ", "))
	}
}

// missing names the refusals that may matter.
func (a *Advice) missing() []string {
	var out []string
	for _, r := range a.Refused {
		if !r.Usual {
			out = append(out, fmt.Sprintf("%s (%s)", r.Call, r.Errno))
		}
	}
	return out
}

// text is the advice for a terminal.
func (a *Advice) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Recommended for %s: %s\n", strings.Join(a.Command, " "), a.Recommend)
	for _, r := range a.Reasons {
		fmt.Fprintf(&b, "  - %s\n", r)
	}
	if len(a.Top) > 0 {
		b.WriteString("\nIts calls, the most frequent first:\n")
		for i, c := range a.Top {
			if i == 12 {
				fmt.Fprintf(&b, "  and %d others\n", len(a.Top)-i)
				break
			}
			fmt.Fprintf(&b, "  %10d  %s%s\n", c.Times, c.Name, errorWords(c))
		}
	}
	if len(a.Refused) > 0 {
		b.WriteString("\nRefused by the Sentry:\n")
		for _, r := range a.Refused {
			usual := ""
			if r.Usual {
				usual = " (programs do without)"
			}
			fmt.Fprintf(&b, "  %10d  %s: %s%s\n", r.Times, r.Call, r.Errno, usual)
			if r.Why != "" {
				fmt.Fprintf(&b, "              %s\n", r.Why)
			}
		}
	}
	return b.String()
}

func errorWords(c Call) string {
	var n uint64
	for _, times := range c.Errors {
		n += times
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", %d with an error", n)
}
