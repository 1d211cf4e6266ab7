package audit

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"bulkhead.dev/bulkhead/internal/workbench/machine"
)

// Schema is the version of audit.json's layout; a reader refuses others.
const Schema = 1

// Record is one audit: all that is written is made from it.
type Record struct {
	Schema  int             `json:"schema"`
	Made    time.Time       `json:"made"`
	Machine machine.Machine `json:"machine"`
	Profile *profile        `json:"profile"`
	Columns []*Column       `json:"columns"`
	Cases   []*CaseResults  `json:"cases"`
	Walls   []*Wall         `json:"walls"`
	Table   []tableRow      `json:"table,omitempty"` // the Sentry's
	Verdict []Verdict       `json:"verdict"`
	Notes   []string        `json:"notes,omitempty"`
}

// What a column's code runs on.
const (
	onHost      = "host"      // the host's kernel, no container
	onShared    = "shared"    // the host's kernel, in a container
	onUserspace = "userspace" // a kernel in user space
	onVM        = "vm"        // a kernel in a virtual machine
)

// Column is one place where the probe ran.
type Column struct {
	Name    string `json:"name"`
	Title   string `json:"title"`
	Kernel  string `json:"kernel"`  // onHost …
	Profile bool   `json:"profile"` // under the default profile
	Runtime string `json:"runtime,omitempty"`
	Version string `json:"version,omitempty"`
	Status  string `json:"status"` // "audited", or what is wrong
	Why     string `json:"why,omitempty"`
}

const audited = "audited"

// CaseResults is one call everywhere.
type CaseResults struct {
	ID      string            `json:"id"`
	Family  string            `json:"family"`
	Call    string            `json:"call"`
	Nr      uint64            `json:"nr"`
	About   string            `json:"about,omitempty"`
	Results map[string]string `json:"results"` // by column: "ok", an errno's name, a signal's, blocked, ended
}

// Wall is what a runtime leaves of the host's kernel, process by process.
type Wall struct {
	Column    string     `json:"column"`
	Title     string     `json:"title"`
	Kernel    string     `json:"kernel"`
	Why       string     `json:"why,omitempty"` // it could not be looked at
	Processes []*Process `json:"processes"`
}

// Process is one kind of process that stands for a container on the host.
type Process struct {
	Role    string   `json:"role"`
	Guest   bool     `json:"guest"` // it runs the container's own code
	Count   int      `json:"count"`
	Filters int      `json:"filters"`
	Allowed []string `json:"allowed"`              // whatever the arguments
	Checked []string `json:"allowed_by_arguments"` // by arguments
	Placed  bool     `json:"from_one_place"`       // all of them only from one place, such as the stub
	Traced  bool     `json:"traced"`
	Made    []Made   `json:"made,omitempty"`  // in the traced run
	Tried   []string `json:"tried,omitempty"` // of those, what no rule lets through
	Rules   []Rule   `json:"rules,omitempty"` // of our own filters
	Target  int      `json:"target,omitempty"`
}

// Reach is how many host calls the process may make.
func (p *Process) Reach() int { return len(p.Allowed) + len(p.Checked) }

// Made is a call that was made.
type Made struct {
	Call  string `json:"call"`
	Times int    `json:"times"`
}

// Rule is a rule of a filter, and how often it let a call through.
type Rule struct {
	Call   string `json:"call"`
	When   string `json:"when,omitempty"`
	Reason string `json:"reason"`
	Times  int    `json:"times"`
}

// Verdict says of one column whether it is stronger than the profile.
type Verdict struct {
	Column   string   `json:"column"`
	Title    string   `json:"title"`
	Stronger bool     `json:"strictly_stronger"`
	Lines    []string `json:"lines"`
}

// Load reads an audit.
func Load(path string) (*Record, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	r := &Record{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("audit %s: not an audit: %w", path, err)
	}
	if r.Schema != Schema {
		return nil, fmt.Errorf("audit %s: layout %d, this program reads %d: audit again", path, r.Schema, Schema)
	}
	return r, nil
}

// column finds a column by name; nil if there is none.
func (r *Record) column(name string) *Column {
	for _, c := range r.Columns {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func (r *Record) wall(column string) *Wall {
	for _, w := range r.Walls {
		if w.Column == column {
			return w
		}
	}
	return nil
}

func (w *Wall) process(role string) *Process {
	for _, p := range w.Processes {
		if p.Role == role {
			return p
		}
	}
	return nil
}

// note adds a note once.
func (r *Record) note(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	for _, n := range r.Notes {
		if n == s {
			return
		}
	}
	r.Notes = append(r.Notes, s)
}
