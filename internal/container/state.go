package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// record is state.json: what a later command must know of a container.
type record struct {
	SpecVersion string            `json:"ociVersion"`
	ID          string            `json:"id"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Created     time.Time         `json:"created"`
	Owner       int               `json:"owner"` // uid
	Wall        Wall              `json:"wall"`

	Sentry  process `json:"sentry"`
	Gofer   process `json:"gofer"`
	Loaded  bool    `json:"loaded"`  // create has succeeded
	Started bool    `json:"started"` // start has succeeded
	Paused  bool    `json:"paused"`

	Cgroup *cgroupRecord `json:"cgroup,omitempty"`
	Hooks  *specs.Hooks  `json:"hooks,omitempty"`
	// Process is what exec takes its defaults from.
	Process wire.Process `json:"process"`
	// Netns is the network namespace joined by path, if any; ownNetns says
	// that the Sentry has a new one.
	Netns    string `json:"netns,omitempty"`
	OwnNetns bool   `json:"ownNetns,omitempty"`
	// Loopback: no interface is taken over from the network namespace.
	Loopback bool        `json:"loopback,omitempty"`
	Limits   wire.Limits `json:"limits"`
	// Pod is the sandbox container whose VM it has joined, under the name PodName
	// and with PodTrees trees; empty: none.
	Pod      string `json:"pod,omitempty"`
	PodName  string `json:"podName,omitempty"`
	PodTrees int    `json:"podTrees,omitempty"`
}

// cgroupRecord is how to find a container's cgroups again.
type cgroupRecord struct {
	Paths    map[string]string `json:"paths"`
	Systemd  bool              `json:"systemd,omitempty"`
	Name     string            `json:"name,omitempty"`
	Parent   string            `json:"parent,omitempty"`
	Prefix   string            `json:"prefix,omitempty"`
	Path     string            `json:"path,omitempty"`
	Rootless bool              `json:"rootless,omitempty"`
	Existed  bool              `json:"existed,omitempty"` // made by someone else
	Pids     string            `json:"pids,omitempty"`    // has the exact limit of tasks (cgroup_pids.go)
}

// Statuses of a container, by the specification and runc.
const (
	StatusCreating = "creating"
	StatusCreated  = "created"
	StatusRunning  = "running"
	StatusPaused   = "paused"
	StatusStopped  = "stopped"
)

// ErrNotExist is a container that is not there.
var ErrNotExist = errors.New("container does not exist")

// idBytes are what an id is made of.
const idBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+.-"

// onlyOf says whether every byte of s is one of set.
func onlyOf(s, set string) bool {
	for i := range len(s) {
		if strings.IndexByte(set, s[i]) < 0 {
			return false
		}
	}
	return true
}

// checkID allows what runc allows: a name that is one harmless element of a
// path.
func checkID(id string) error {
	if id == "" {
		return errors.New("container id cannot be empty")
	}
	if len(id) > 1024 || !onlyOf(id, idBytes) || id == "." || id == ".." {
		return fmt.Errorf("invalid container id %q: only letters, digits and _ + - . are allowed", id)
	}
	return nil
}

// Container is a container's directory and its record.
type Container struct {
	rt   *Runtime
	dir  string
	lock *os.File // held, if not nil
	rec  record
}

func (c *Container) path(name string) string { return filepath.Join(c.dir, name) }

// makeDir makes the state directory of a new container, locked.
func (rt *Runtime) makeDir(id string) (*Container, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	if err := rt.ensureRoot(); err != nil {
		return nil, err
	}
	c := &Container{rt: rt, dir: filepath.Join(rt.Root, id)}
	if err := os.Mkdir(c.dir, 0o711); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("container with given ID already exists: %s", id)
		}
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if err := c.flock(os.O_CREATE); err != nil {
		os.RemoveAll(c.dir)
		return nil, err
	}
	return c, nil
}

// ensureRoot makes the root of all state, and refuses one that another user
// could write to.
func (rt *Runtime) ensureRoot() error {
	if err := os.MkdirAll(rt.Root, 0o711); err != nil {
		return fmt.Errorf("--root: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(rt.Root, &st); err != nil {
		return fmt.Errorf("--root %s: %w", rt.Root, err)
	}
	if int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("--root %s belongs to user %d, not to %d", rt.Root, st.Uid, os.Geteuid())
	}
	return nil
}

// flock takes the container's lock. Only who makes the directory makes the
// file (create is os.O_CREATE), so that none appears in one being removed.
func (c *Container) flock(create int) error {
	f, err := os.OpenFile(c.path("lock"), create|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	c.lock = f
	return nil
}

// unlock lets others change the container.
func (c *Container) unlock() {
	if c.lock != nil {
		c.lock.Close()
		c.lock = nil
	}
}

// open finds a container without locking it.
func (rt *Runtime) open(id string) (*Container, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	c := &Container{rt: rt, dir: filepath.Join(rt.Root, id)}
	return c, c.load()
}

// openLocked finds a container and locks it.
func (rt *Runtime) openLocked(id string) (*Container, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	c := &Container{rt: rt, dir: filepath.Join(rt.Root, id)}
	if _, err := os.Lstat(c.dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotExist, id)
	}
	if err := c.flock(0); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %s", ErrNotExist, id)
		}
		return nil, err
	}
	if err := c.load(); err != nil {
		c.unlock()
		return nil, err
	}
	return c, nil
}

func (c *Container) load() error {
	raw, err := slurp(c.path("state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s", ErrNotExist, filepath.Base(c.dir))
	}
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	if fastDecode([]byte(raw), &c.rec) {
		return nil
	}
	c.rec = record{}
	if err := json.Unmarshal([]byte(raw), &c.rec); err != nil {
		return fmt.Errorf("state %s: %w", c.path("state.json"), err)
	}
	return nil
}

// save replaces state.json in one step. The lock must be held.
func (c *Container) save() error {
	raw, err := fastEncode(&c.rec)
	if err != nil {
		return err
	}
	tmp := c.path("state.json.new")
	if err := spill(tmp, string(raw), unix.O_CREAT|unix.O_TRUNC); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	if err := unix.Rename(tmp, c.path("state.json")); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

// status is what has become of the container by now.
func (c *Container) status() string {
	switch {
	case !c.rec.Sentry.alive(), c.rec.Loaded && c.rec.Gofer.Pid > 0 && !c.rec.Gofer.alive():
		return StatusStopped // a Sentry whose files are gone ends at once
	case !c.rec.Loaded:
		return StatusCreating
	case c.rec.Paused:
		return StatusPaused
	case c.rec.Started:
		return StatusRunning
	}
	return StatusCreated
}

// sandbox is the wall behind the container.
func (c *Container) sandbox() Sandbox {
	return &sentrySandbox{socket: c.path("control.sock")}
}

// specState is the state that hooks are given.
func (c *Container) specState(status string) *specs.State {
	st := &specs.State{
		Version: SpecVersion, ID: c.rec.ID, Status: specs.ContainerState(status),
		Bundle: c.rec.Bundle, Annotations: c.rec.Annotations,
	}
	if status != StatusStopped {
		st.Pid = c.rec.Sentry.Pid
	}
	return st
}

// State is what `state` prints, in runc's form.
type State struct {
	Version     string            `json:"ociVersion"`
	ID          string            `json:"id"`
	Pid         int               `json:"pid"`
	Status      string            `json:"status"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Owner       string            `json:"owner"`
	// UID is the number of the owner, for `list`.
	UID int `json:"-"`
}

// State gives the state of one container.
func (rt *Runtime) State(id string) (*State, error) {
	c, err := rt.open(id)
	if err != nil {
		return nil, err
	}
	return c.state(), nil
}

func (c *Container) state() *State {
	s := &State{
		Version: c.rec.SpecVersion, ID: c.rec.ID, Status: c.status(), Bundle: c.rec.Bundle, Rootfs: c.rec.Rootfs,
		Created: c.rec.Created, Annotations: c.rec.Annotations, UID: c.rec.Owner,
	}
	if s.Status != StatusStopped {
		s.Pid = c.rec.Sentry.Pid
	}
	return s
}

// List gives the states of all containers, by name.
func (rt *Runtime) List() ([]*State, error) {
	entries, err := os.ReadDir(rt.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("--root: %w", err)
	}
	var list []*State
	for _, e := range entries {
		if !e.IsDir() || checkID(e.Name()) != nil {
			continue
		}
		s, err := rt.State(e.Name())
		if errors.Is(err, ErrNotExist) {
			continue // being made, or just removed
		}
		if err != nil {
			rt.Warn("container %s: %v", e.Name(), err)
			continue
		}
		list = append(list, s)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].ID < list[j].ID })
	return list, nil
}
