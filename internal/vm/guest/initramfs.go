package guest

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// initramfsVersion changes when the same inputs give another initramfs.
const initramfsVersion = 1

// AgentName is the name of the agent's program.
const AgentName = "bulkhead-agent"

// FindAgent gives the agent's program: the one named, else the one beside this
// program, else an installed one.
func FindAgent(path string) (string, error) {
	if path != "" {
		return path, nil
	}
	var places []string
	if self, err := os.Executable(); err == nil {
		places = append(places, filepath.Join(filepath.Dir(self), AgentName))
	}
	places = append(places, "/usr/libexec/bulkhead/"+AgentName, "/usr/local/libexec/bulkhead/"+AgentName)
	for _, p := range places {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("the VM's agent is not installed: %s is not there; build it with `make`, or CGO_ENABLED=0 go build ./cmd/%s", strings.Join(places, " or "), AgentName)
}

// Initramfs gives the initramfs of a kernel with an agent in it, made once. It
// is not compressed: to unpack it would cost more than to read it.
func (c *Cache) Initramfs(k *Kernel, agent string) (*Entry, error) {
	index, groups, key, err := k.plan(agent)
	if err != nil {
		return nil, err
	}
	return c.get("initramfs", key, func(w *os.File) error {
		return k.writeInitramfs(w, agent, index, groups)
	})
}

// plan chooses the modules and makes the key of all that goes in.
func (k *Kernel) plan(agent string) (*moduleIndex, []packedGroup, string, error) {
	info, err := os.Stat(agent)
	if err != nil {
		return nil, nil, "", fmt.Errorf("the VM's agent: %w", err)
	}
	index, err := readModules(k.Modules)
	if err != nil {
		return nil, nil, "", err
	}
	groups, err := index.groups(k.Release)
	if err != nil {
		return nil, nil, "", err
	}
	key := newKey("initramfs", initramfsVersion)
	key.file(agent, info)
	key.text(k.Release)
	for _, g := range groups {
		key.text(g.name)
		for _, file := range g.files {
			path := filepath.Join(k.Modules, file)
			info, err := os.Stat(path)
			if errors.Is(err, fs.ErrNotExist) {
				return nil, nil, "", fmt.Errorf("module %s is in modules.dep and not there: run depmod %s, or reinstall linux-image-%s", path, k.Release, k.Release)
			}
			if err != nil {
				return nil, nil, "", fmt.Errorf("module: %w", err)
			}
			key.file(path, info)
		}
	}
	return index, groups, key.sum(), nil
}

// writeInitramfs writes the archive:
//
//	init             the agent
//	dev proc sys run where it mounts
//	modules/index    a line for each group: its name, then names of files
//	modules/N-NAME.ko
func (k *Kernel) writeInitramfs(w io.Writer, agent string, index *moduleIndex, groups []packedGroup) error {
	raw, err := os.ReadFile(agent)
	if err != nil {
		return fmt.Errorf("the VM's agent: %w", err)
	}
	if err := checkStatic(raw); err != nil {
		return fmt.Errorf("the VM's agent %s: %w", agent, err)
	}
	strip := !k.signaturesForced()
	cpio := newCpio(w)
	for _, dir := range []string{"dev", "proc", "sys", "run", agentpb.ModulesDir} {
		cpio.dir(dir)
	}
	// What Go opens where the kernel could not open a console.
	cpio.device("dev/null", 0o666, 1, 3)
	cpio.device("dev/console", 0o600, 5, 1)
	cpio.file("init", 0o755, raw)
	var text strings.Builder
	number := make(map[string]string)
	for _, g := range groups {
		text.WriteString(g.name)
		for _, file := range g.files {
			if number[file] == "" {
				name := fmt.Sprintf("%d-%s.ko", len(number), moduleName(file))
				data, err := index.load(file, strip)
				if err != nil {
					return err
				}
				cpio.file(agentpb.ModulesDir+"/"+name, 0o444, data)
				number[file] = name
			}
			text.WriteString(" " + number[file])
		}
		text.WriteString("\n")
	}
	cpio.file(agentpb.ModulesIndex, 0o444, []byte(text.String()))
	if err := cpio.close(); err != nil {
		return fmt.Errorf("initramfs of %s: %w", k.Release, err)
	}
	return nil
}

// checkStatic refuses an agent that the kernel of the guest could not start: it
// has no dynamic linker.
func checkStatic(b []byte) error {
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("is no ELF file: %w", err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("is linked dynamically: build it with CGO_ENABLED=0")
		}
	}
	return nil
}
