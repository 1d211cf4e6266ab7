package monitor

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/proto"

	"bulkhead.dev/bulkhead/internal/vm/hypervisor"
	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// A prepared template is one of a machine whose container is made already but
// for its process: what most of a start from a template is. It is made of a
// clone when a container of the same shape (root image, mounts, namespaces,
// limits, working directory, which streams) is started for the second time, and nothing of the
// process is in it: neither arguments nor environment, ids or filter.
//
//	CACHE/template-KEY  as any template
//	CACHE/seen-XX       the last key that begins with XX of a container that
//	                    was started and not prepared

// preparedSettle is how long the agent is given to let go of its session: a
// clone of one that has not has that to do.
const preparedSettle = 150 * time.Millisecond

// maxPrepared bounds what a process's description may take in the agent's page.
const maxPrepared = 64 << 10

// preparedFrom gives the template that this sandbox is cloned from: t, or a
// prepared one that was made of it.
func (m *monitor) preparedFrom(cfg *hypervisor.Config, t *template) *template {
	shape := m.shape()
	if shape == nil {
		return t
	}
	key := m.preparedKey(t, shape)
	p := &template{dir: filepath.Join(m.machine.dir, "template-"+key)}
	if !p.ready() && (!m.seen(key) || !m.prepareTemplate(cfg, t, p, shape)) {
		return t
	}
	m.prepared = true
	m.debugf("the container is prepared")
	return p
}

// shape is what the container has in common with others; nil if it cannot be
// prepared.
func (m *monitor) shape() *agentpb.CreateRequest {
	req := m.first.createRequest(false)
	c := req.Container
	if c.Process.Terminal || c.Namespaces.GetUser() || proto.Size(c.Process)+proto.Size(c.Seccomp) > maxPrepared {
		return nil
	}
	c.Process, c.Seccomp, c.Personality, req.Sandbox = &agentpb.Process{Args: []string{"-"}, Cwd: c.Process.Cwd}, nil, 0, nil
	there := func(fd int) uint32 {
		if isNull(fd) {
			return 0
		}
		return 1
	}
	req.Streams = &agentpb.Streams{Stdin: there(0), Stdout: there(1), Stderr: there(2)}
	return req
}

// prepare leaves in a request what a prepared container does not know.
func prepare(req *agentpb.CreateRequest) {
	c := req.Container
	req.Container = &agentpb.Container{Process: c.Process, Seccomp: c.Seccomp, Personality: c.Personality}
	req.Prepared = true
}

func (m *monitor) preparedKey(t *template, shape *agentpb.CreateRequest) string {
	h := sha256.New()
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(shape)
	if err != nil {
		raw = entropy() // none is like it
	}
	fmt.Fprintf(h, "prepared 1\n%s\n%s\n", t.dir, raw)
	for _, e := range m.machine.entries { // kernel, initramfs, the root's image
		fmt.Fprintln(h, e.Path)
	}
	return hex.EncodeToString(h.Sum(nil))[:40]
}

// seen says whether a container of this key was started before, as far as is
// remembered: of 256 keys. A key is of one boot of the host.
func (m *monitor) seen(key string) bool {
	name := filepath.Join(m.machine.dir, "seen-"+key[:2])
	if raw, err := os.ReadFile(name); err == nil && string(raw) == key {
		return true
	}
	_ = os.WriteFile(name, []byte(key), 0o600)
	return false
}

// prepareTemplate makes the prepared template p of t, and says whether it is
// there now.
func (m *monitor) prepareTemplate(cfg *hypervisor.Config, t, p *template, shape *agentpb.CreateRequest) bool {
	there, err := p.ensure(func() error { return m.makePrepared(cfg, t, p, shape) })
	if err != nil { // whatever is wrong with the container, its start will tell
		m.debugf("prepared template: %v", err)
	}
	return there
}

// makePrepared clones t, has the container made, and saves what has come of it.
func (m *monitor) makePrepared(sandbox *hypervisor.Config, t, p *template, shape *agentpb.CreateRequest) error {
	t.touch()
	removeOldTemplates(m.machine.dir)
	cfg := m.machine.config(m.memory, filepath.Join(m.scratch, "prepared"))
	cfg.Disks = sandbox.Disks
	for i := range sandbox.Nets {
		cfg.Nets = append(cfg.Nets, hypervisor.Net{ID: fmt.Sprint("net", i), MAC: slotMAC(i)})
	}
	defer os.Remove(cfg.Memory.Path)
	vm, conn, err := m.clone(cfg, t, m.startCopy)
	if err != nil {
		return err
	}
	defer func() {
		vm.Kill()
		<-vm.Done()
	}()
	err = m.prepareSnapshot(vm, conn, &agentpb.SnapshotRequest{Container: shape})
	conn.Close()
	if err != nil {
		return err
	}
	time.Sleep(preparedSettle)
	return p.save(vm, m.machine.dir, cfg.Memory.Path)
}
