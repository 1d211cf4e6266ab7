package advise

import (
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"
)

// countsMark begins the line in the Sentry's log (internal/sentry/syscalls).
const countsMark = "bulkhead-calls: "

// Call is one call that the command made.
type Call struct {
	Nr     uint32            `json:"nr"`
	Name   string            `json:"name"`
	Times  uint64            `json:"times"`
	Errors map[string]uint64 `json:"errors,omitempty"`
	State  string            `json:"state"` // in the Sentry: full, partial, refused
	Note   string            `json:"note,omitempty"`
}

// readCounts finds the counts in a log.
func readCounts(path string) ([]Call, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the counts: %w", err)
	}
	for _, line := range strings.Split(string(data), "\n") {
		rest, ok := strings.CutPrefix(line, countsMark)
		if !ok {
			continue
		}
		var calls []Call
		if err := json.Unmarshal([]byte(rest), &calls); err != nil {
			return nil, fmt.Errorf("the counts: %w", err)
		}
		sort.Slice(calls, func(i, j int) bool { return calls[i].Times > calls[j].Times })
		return calls, nil
	}
	return nil, fmt.Errorf("the Sentry wrote no counts: it ended early, or is older than this program")
}

// errors of a kernel without the call, or that refuses it whatever the rights.
var refusing = map[string]bool{"ENOSYS": true, "EOPNOTSUPP": true, "ENOTSUP": true, "EPERM": true}

// expected are refusals that mean nothing: C libraries and runtimes ask once,
// and do without.
var expected = map[string]bool{
	"rseq": true, "set_robust_list": true, "landlock_create_ruleset": true, "prctl": true, "pkey_alloc": true,
	"io_uring_setup": true, "futex_waitv": true, "ioctl": true, "mseal": true, "map_shadow_stack": true,
}

// Refusal is a call that did not do what was asked.
type Refusal struct {
	Call  string `json:"call"`
	Errno string `json:"errno"`
	Times uint64 `json:"times"`
	Why   string `json:"why,omitempty"`
	// Usual says that programs ask for this and do without.
	Usual bool `json:"usual"`
}

// refusals are what the Sentry refused because it has no such thing.
func refusals(calls []Call) []Refusal {
	var out []Refusal
	for _, c := range calls {
		for errno, n := range c.Errors {
			if c.State == "refused" || c.State == "partial" && refusing[errno] && errno != "EPERM" || errno == "ENOSYS" {
				out = append(out, Refusal{Call: c.Name, Errno: errno, Times: n, Why: c.Note, Usual: expected[c.Name]})
			}
		}
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].Usual != out[j].Usual {
			return !out[i].Usual
		}
		if out[i].Call != out[j].Call {
			return out[i].Call < out[j].Call
		}
		return out[i].Errno < out[j].Errno
	})
	return out
}

func total(calls []Call) (n uint64) {
	for _, c := range calls {
		n += c.Times
	}
	return n
}
