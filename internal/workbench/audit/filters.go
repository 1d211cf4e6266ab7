package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"time"

	"bulkhead.dev/bulkhead/internal/seccomp"
)

// filterRule is a rule of our own filters, as `bulkhead help filters -o json`
// prints it.
type filterRule struct {
	Process string         `json:"process"`
	Nr      uint32         `json:"nr"`
	Name    string         `json:"name"`
	Checked bool           `json:"checked"`
	When    []seccomp.Cond `json:"when,omitempty"`
	Text    string         `json:"text,omitempty"`
	Reason  string         `json:"reason"`
}

func (r *filterRule) matches(nr uint32, args *[6]uint64) bool {
	if r.Nr != nr {
		return false
	}
	for _, c := range r.When {
		if !c.Holds(args, 0) {
			return false
		}
	}
	return true
}

// tableRow is a row of the Sentry's table, as `bulkhead help syscalls -o json`
// prints it.
type tableRow struct {
	Nr     uint32 `json:"nr"`
	Name   string `json:"name"`
	State  string `json:"state"`
	Lacks  string `json:"lacks,omitempty"`
	Errno  string `json:"errno,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// helpJSON asks the bulkhead program for one of its tables.
func helpJSON[T any](ctx context.Context, program, topic string) ([]T, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "help", topic, "-o", "json").Output()
	if err != nil {
		return nil, fmt.Errorf("%s help %s: %w", program, topic, err)
	}
	var rows []T
	if err := json.Unmarshal(out, &rows); err != nil {
		return nil, fmt.Errorf("%s help %s: %w", program, topic, err)
	}
	return rows, nil
}
