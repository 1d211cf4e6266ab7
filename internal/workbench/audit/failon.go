package audit

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// condition is one of --fail-on.
type condition struct {
	name  string // weaker, guest, …
	limit int    // of name>N
	file  string // of new=FILE
}

// parseConditions reads the list of --fail-on.
func parseConditions(s string) ([]condition, error) {
	var out []condition
	for _, word := range strings.Split(s, ",") {
		word = strings.TrimSpace(word)
		if word == "" {
			continue
		}
		c := condition{name: word}
		if name, n, ok := strings.Cut(word, ">"); ok {
			limit, err := strconv.Atoi(n)
			if err != nil || limit < 0 || whose[name] == "" {
				return nil, fmt.Errorf("--fail-on %s: want %s, each with >N", word, strings.Join(drillRoles, ", "))
			}
			c.name, c.limit = name, limit
		} else if name, file, ok := strings.Cut(word, "="); ok && name == "new" && file != "" {
			c.name, c.file = name, file
		} else if !plainConditions[word] {
			return nil, fmt.Errorf("--fail-on %s: no such condition: there are weaker, guest>N (or sentry, gofer, hypervisor, virtiofsd, monitor), unfiltered, leak, unused, missing and new=FILE", word)
		}
		out = append(out, c)
	}
	return out, nil
}

var plainConditions = map[string]bool{"weaker": true, "unfiltered": true, "leak": true, "unused": true, "missing": true}

// findings are the conditions that hold, in words.
func (r *Record) findings(conditions []condition) ([]string, error) {
	var out []string
	for _, c := range conditions {
		var found []string
		switch c.name {
		case "weaker":
			found = r.weaker()
		case "unfiltered":
			found = r.unfiltered()
		case "leak":
			found = r.leaking()
		case "unused":
			found = r.neverUsed()
		case "missing":
			found = r.missing()
		case "new":
			old, err := Load(c.file)
			if err != nil {
				return nil, err
			}
			found = r.news(old)
		default:
			found = r.over(c.name, c.limit)
		}
		for _, f := range found {
			out = append(out, c.name+": "+f)
		}
	}
	return out, nil
}

func (r *Record) weaker() []string {
	var out []string
	for _, v := range r.Verdict {
		if c := r.column(v.Column); c != nil && c.Kernel != onShared && !v.Stronger {
			out = append(out, fmt.Sprintf("%s is not strictly stronger than the default profile", v.Title))
		}
	}
	return out
}

func (r *Record) over(role string, limit int) []string {
	var out []string
	for _, w := range r.Walls {
		if w.Kernel == onShared {
			continue
		}
		if p := w.process(role); p != nil && p.Reach() > limit {
			out = append(out, fmt.Sprintf("%s: %d host calls, at most %d wanted", w.Title, p.Reach(), limit))
		} else if p == nil && w.Kernel == onUserspace && slices.Contains([]string{roleGuest, roleSentry, roleGofer}, role) {
			out = append(out, fmt.Sprintf("%s: its %s was not seen", w.Title, role))
		}
	}
	return out
}

func (r *Record) unfiltered() []string {
	var out []string
	for _, w := range r.Walls {
		for _, p := range w.Processes {
			if w.Kernel != onShared && p.Filters == 0 {
				out = append(out, fmt.Sprintf("%s: its %s has no seccomp filter", w.Title, p.Role))
			}
		}
	}
	return out
}

func (r *Record) leaking() []string {
	var out []string
	for _, c := range r.Columns {
		if c.Status == audited && c.Profile {
			for _, l := range r.leaks(c) {
				out = append(out, fmt.Sprintf("%s: %s is answered", c.Title, l))
			}
		}
	}
	return out
}

func (r *Record) neverUsed() []string {
	var out []string
	for _, w := range r.Walls {
		for _, p := range w.Processes {
			for _, u := range p.unused() {
				out = append(out, fmt.Sprintf("%s, %s: %s (%s)", w.Title, p.Role, u.Call, u.Reason))
			}
		}
	}
	return out
}

func (r *Record) missing() []string {
	var out []string
	for _, c := range r.Columns {
		if c.Status != audited {
			out = append(out, fmt.Sprintf("%s: %s: %s", c.Title, c.Status, c.Why))
		}
	}
	return out
}

// news are calls that answer now and did not in an older audit, and host calls
// that a process may make now and could not.
func (r *Record) news(old *Record) []string {
	var out []string
	before := map[string]*CaseResults{}
	for _, c := range old.Cases {
		before[c.ID] = c
	}
	for _, c := range r.Columns {
		oc := old.column(c.Name)
		if oc == nil || c.Status != audited || oc.Status != audited {
			continue
		}
		for _, cs := range r.Cases {
			was := before[cs.ID]
			if was != nil && was.Results[c.Name] != "" && r.classOf(cs, c) == classAnswered && old.classOf(was, oc) != classAnswered {
				out = append(out, fmt.Sprintf("%s: %s: %s, was %s", c.Title, cs.ID, cs.Results[c.Name], was.Results[c.Name]))
			}
		}
		w, ow := r.wall(c.Name), old.wall(c.Name)
		if w == nil || ow == nil {
			continue
		}
		for _, p := range w.Processes {
			if op := ow.process(p.Role); op != nil && p.Reach() > op.Reach() {
				out = append(out, fmt.Sprintf("%s: its %s may make %d host calls, was %d", c.Title, p.Role, p.Reach(), op.Reach()))
			}
		}
	}
	return out
}
