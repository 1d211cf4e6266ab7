package conformance

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// nested is the Sentry inside the VM wall's guest: the distribution's kernel is its host's then.
type nested struct {
	*machine
	binary string
}

// caseLimit: a Sentry on a translated processor.
func (n nested) caseLimit() time.Duration { return 10 * caseLimit }

func (n nested) command(argv []string, dir string, env []string) (*exec.Cmd, func() []string, error) {
	args := []string{n.binary, "do", "--volume", dir + ":" + dir, "--workdir", dir}
	for _, e := range append(env, "PATH="+os.Getenv("PATH")) {
		args = append(args, "--env", e)
	}
	return n.machine.command(append(append(args, "--"), argv...), "/tmp", nil)
}

// variantsNested: the sandbox's overlay.
var variantsNested = []variant{{name: "nested", directory: "/var/tmp"}, {name: "nested-static", static: true, directory: "/var/tmp"}}

// quickNested are the families that ask most of the host's kernel: the stub's signals, memory and threads.
var quickNested = map[string]bool{"rseq": true, "frames": true, "threads": true, "futex": true}

// TestSentryInVM is TestGuests on the distribution's own kernel, as that of Debian 12 (6.1): a subset, all with BULKHEAD_VM_FULL=1
// (make test-vm). The oracle is the host's kernel still, as for every Sentry.
func TestSentryInVM(t *testing.T) {
	needMachine(t)
	s := wall(t)
	m := &machine{s: s}
	defer m.end()
	c := newCampaign(t, "expected-nested.txt", variantsNested)
	c.place, c.room = nested{m, s.binary}, make(chan struct{}, 1)
	c.forKernel(t, m)
	c.subset = !everythingVM()
	c.skip = func(p *program, v variant) bool { return !everythingVM() && (!quickNested[p.family] || p.static) }
	c.run(t)
	m.end()
	for _, l := range m.left {
		t.Errorf("the VM left behind: %s", l)
	}
}
