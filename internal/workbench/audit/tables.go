package audit

import (
	"fmt"
	"slices"
	"strings"
)

// section is a table with its heading, in no form yet: text, markdown and HTML
// are made from the same sections.
type section struct {
	id, title string
	about     string
	unshown   string   // for where the rows are folded away
	lines     []string // a list, in place of a table or before it
	head      []string
	rows      [][]cell
	long      bool // folded away in text
}

// cell is a table's cell; class tints it on the page.
type cell struct {
	text, class string
	sort        float64 // 0: by text
}

func plain(s string) cell { return cell{text: s} }

// sections are what an audit has to say, in the order of a reader's questions.
func (r *Record) sections() []section {
	var out []section
	out = append(out, r.verdictSection(), r.columnSection(), r.reachSection())
	out = append(out, r.wallSections()...)
	out = append(out, r.wideSection())
	out = append(out, r.entrySection(), r.callSection(), r.profileSection())
	if len(r.Notes) > 0 {
		out = append(out, section{id: "notes", title: "Notes", lines: r.Notes})
	}
	return out
}

func (r *Record) verdictSection() section {
	s := section{id: "verdict", title: "Is it stronger than the default profile?",
		about: "A wall is strictly stronger when guest code reaches fewer host calls than the default seccomp profile leaves, and none that the profile refuses."}
	for _, v := range r.Verdict {
		s.lines = append(s.lines, fmt.Sprintf("%s — %s. %s", v.Title, r.verdictWords(&v), strings.Join(v.Lines, " ")))
	}
	return s
}

func (r *Record) verdictWords(v *Verdict) string {
	c := r.column(v.Column)
	switch {
	case c != nil && c.Kernel == onShared && c.Profile:
		return "the profile itself"
	case c != nil && c.Kernel == onShared:
		return "weaker than the profile"
	case v.Stronger:
		return "strictly stronger than the profile"
	}
	return "not strictly stronger, or not known"
}

// roleWord is a process's role in a sentence.
func roleWord(role string) string {
	if w := processWords[role]; w != "" {
		return w
	}
	return role
}

// columnSection: where every number of x86-64 ended, by column.
func (r *Record) columnSection() section {
	s := section{id: "counts", title: "Every system call, counted",
		about: fmt.Sprintf("%d numbers were called in each place with arguments that do no harm; this host's kernel has %d of them. Answered: a kernel looked at the call, be it the host's or the wall's own. Needs a capability: refused with EPERM with and without a profile.", r.count(familyCalls), r.has()),
		head:  []string{"where", "whose kernel answers", "answered", "needs a capability", "refused", "killed", "the host lacks it", "state"}}
	for _, c := range r.Columns {
		if c.Status != audited {
			s.rows = append(s.rows, []cell{plain(c.Title), plain(kernelWords[c.Kernel]), {}, {}, {}, {}, {}, plain(c.Status + ": " + c.Why)})
			continue
		}
		n := r.tally(c, familyCalls)
		s.rows = append(s.rows, []cell{plain(c.Title), plain(kernelWords[c.Kernel]), num(n[classAnswered]), num(n[classCaps]),
			num(n[classRefused]), num(n[classKilled]), num(n[classLacking]), plain(c.Version)})
	}
	return s
}

var kernelWords = map[string]string{onHost: "the host's", onShared: "the host's", onUserspace: "its own, in user space", onVM: "its own, in a virtual machine"}

func num(n int) cell { return cell{text: fmt.Sprint(n), sort: float64(n) + 0.5} }

func (r *Record) count(family string) int {
	n := 0
	for _, c := range r.Cases {
		if c.Family == family {
			n++
		}
	}
	return n
}

// reachSection: processes and how many host calls each may make.
func (r *Record) reachSection() section {
	s := section{id: "reach", title: "What is left of the host's kernel",
		about: fmt.Sprintf("Read back from the seccomp filters of live processes: how many of the %d host calls each may make. The guest is what the container's own code can do at once; the other processes stand between it and the host, and must be taken over first. Checked: only with certain arguments.", r.has()),
		head:  []string{"runtime", "process", "host calls", "of them checked", "target", "made in the traced run", "refused by the default profile", "filters"}}
	for _, w := range r.Walls {
		if w.Why != "" {
			s.rows = append(s.rows, []cell{plain(w.Title), plain("not looked at: " + w.Why), {}, {}, {}, {}, {}, {}})
		}
		if w.Kernel == onVM && w.process(roleGuest) == nil && w.Why == "" {
			s.rows = append(s.rows, []cell{plain(w.Title), plain("guest"), num(0), num(0), {}, plain("its kernel is its own"), num(0), {}})
		}
		for _, p := range w.Processes {
			role := roleWord(p.Role)
			if p.Placed {
				role += ", from its stub only"
			}
			row := []cell{plain(w.Title), plain(role), num(p.Reach()), num(len(p.Checked)), {}, {}, num(len(r.wider(p))), num(p.Filters)}
			if p.Target > 0 {
				row[4] = cell{text: fmt.Sprintf("at most %d", p.Target), sort: float64(p.Target), class: good(p.Reach() <= p.Target)}
			}
			if p.Traced {
				row[5] = num(len(p.Made))
			}
			s.rows = append(s.rows, row)
		}
	}
	return s
}

func good(ok bool) string {
	if ok {
		return "hg"
	}
	return "h4"
}

// wallSections: our own filters, rule by rule, with how often each was needed.
func (r *Record) wallSections() []section {
	var out []section
	for _, w := range r.Walls {
		for _, p := range w.Processes {
			if len(p.Rules) == 0 {
				continue
			}
			s := section{id: "rules-" + p.Role, long: true, title: fmt.Sprintf("The %s's filter, rule by rule", roleWord(p.Role)),
				head: []string{"host call", "only if", "why it is there", "times in the traced run"}}
			switch unused := p.unused(); {
			case !p.Traced && p.Guest:
				s.about = "What code in the guest can call, and only from inside the stub: its own process was not traced."
			case !p.Traced:
				s.about = "It was not traced."
			case len(unused) > 0:
				var names []string
				for _, u := range unused {
					names = append(names, fmt.Sprintf("%s (%s)", u.Call, u.Reason))
				}
				s.about = fmt.Sprintf("%d rules; the traced run needed all but %d, which are marked never: those stand for what that run did not do.", len(p.Rules), len(unused))
				s.unshown = "Never: " + strings.Join(names, "; ") + "."
			default:
				s.about = fmt.Sprintf("%d rules; the traced run needed every one.", len(p.Rules))
			}
			for _, rule := range p.Rules {
				times := cell{}
				if p.Traced {
					times = num(rule.Times)
					if rule.Times == 0 {
						times = cell{text: "never", class: "h1", sort: 0.25}
					}
				}
				s.rows = append(s.rows, []cell{plain(rule.Call), plain(rule.When), plain(rule.Reason), times})
			}
			out = append(out, s)
		}
	}
	return out
}

// live are the columns with results, the host left out where it is implied.
func (r *Record) live() []*Column {
	var out []*Column
	for _, c := range r.Columns {
		if c.Status == audited {
			out = append(out, c)
		}
	}
	return out
}

var classTint = map[class]string{classAnswered: "h2", classRefused: "hg", classKilled: "hg", classCaps: "h1", classLacking: "", classNone: "none"}

// resultCell shows one result. Behind a wall, an answer is the wall's own
// kernel's, and is not tinted as the host's is.
func (r *Record) resultCell(cs *CaseResults, c *Column) cell {
	k := r.classOf(cs, c)
	got := cs.Results[c.Name]
	t := classTint[k]
	if k == classAnswered && (c.Kernel == onUserspace || c.Kernel == onVM) {
		t = "h0"
	}
	switch k {
	case classRefused:
		got = "refused: " + got
	case classKilled:
		got = "killed: " + got
	case classNone:
		got = ""
	}
	return cell{text: got, class: t}
}

func (r *Record) resultTable(s *section, first string, keep func(*CaseResults) bool) {
	s.head = []string{first}
	cols := r.live()
	for _, c := range cols {
		s.head = append(s.head, c.Title)
	}
	for _, cs := range r.Cases {
		if !keep(cs) {
			continue
		}
		name := cs.Call
		if cs.About != "" {
			name += " (" + cs.About + ")"
		}
		row := []cell{{text: name}}
		for _, c := range cols {
			row = append(row, r.resultCell(cs, c))
		}
		s.rows = append(s.rows, row)
	}
}

func (r *Record) wideSection() section {
	s := section{id: "wide", long: true, title: "Risky arguments of the wide calls",
		about: "Descriptors, pointers and processes named here do not exist: EBADF, EFAULT, ESRCH and the like say that a kernel looked at the call, ok that it did it."}
	r.resultTable(&s, "call", func(c *CaseResults) bool { return c.Family == familyWide })
	return s
}

// entrySection: the other ways into the kernel.
func (r *Record) entrySection() section {
	s := section{id: "entries", title: "Other ways into the kernel",
		about: fmt.Sprintf("int 0x80 is the 32-bit way in, with numbers of its own; x32 is the 64-bit one with bit 30 set. %d and %d numbers.", r.count(familyI386), r.count(familyX32)),
		head:  []string{"where", "int 0x80: answered", "refused", "killed", "x32: answered", "refused", "killed"}}
	for _, c := range r.live() {
		i, x := r.tally(c, familyI386), r.tally(c, familyX32)
		s.rows = append(s.rows, []cell{plain(c.Title), num(i[classAnswered] + i[classCaps]), num(i[classRefused]), num(i[classKilled]),
			num(x[classAnswered] + x[classCaps]), num(x[classRefused]), num(x[classKilled])})
	}
	return s
}

func (r *Record) callSection() section {
	s := section{id: "calls", long: true, title: "Every system call",
		about: "The result of each call, as its caller saw it. Calls that no place answered, and that this host's kernel lacks, are left out."}
	r.resultTable(&s, "call", func(c *CaseResults) bool {
		return c.Family == familyCalls && (callNames().byNr[uint32(c.Nr)] != "" && !lacking(c.Results[hostColumn]) || r.anyAnswers(c))
	})
	return s
}

func (r *Record) anyAnswers(cs *CaseResults) bool {
	return slices.ContainsFunc(r.live(), func(c *Column) bool { return r.classOf(cs, c) == classAnswered })
}

func (r *Record) profileSection() section {
	p := r.Profile
	if p == nil {
		return section{id: "profile", title: "The default profile"}
	}
	return section{id: "profile", title: "The default profile", long: true,
		about: fmt.Sprintf("%s, for a container with the default capabilities on this kernel: it allows %d calls of x86-64, %d more by their arguments, and refuses %d.", p.Module, len(p.Free), len(p.Checked), len(p.Refused)),
		lines: []string{"By arguments: " + strings.Join(p.Checked, ", ") + ".", "Refused: " + strings.Join(p.Refused, ", ") + "."}}
}

func (r *Record) subtitle() string {
	return fmt.Sprintf("Audited %s on %s, kernel %s.", r.Made.UTC().Format("2 January 2006, 15:04 UTC"), r.Machine.OS, r.Machine.Kernel)
}
