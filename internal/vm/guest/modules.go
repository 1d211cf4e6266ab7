package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// moduleGroup is what one purpose needs. A module that is built into the
// kernel is as good as one that can be loaded.
type moduleGroup struct {
	name     string
	modules  []string
	optional bool   // a kernel without it boots; the group is left out
	purpose  string // for the error
}

// moduleGroups are the groups of package agentpb. The PCI transport is needed
// where a device is on PCI (q35, Cloud Hypervisor), the MMIO transport on
// microvm and Firecracker: of these a kernel needs one.
var moduleGroups = []moduleGroup{
	{agentpb.GroupMMIO, []string{"virtio_mmio"}, true, "devices of microvm and Firecracker"},
	{agentpb.GroupPCI, []string{"virtio_pci"}, true, "devices of q35 and Cloud Hypervisor"},
	{agentpb.GroupBoot, []string{"virtio_console"}, false, "the channel to the agent"},
	{agentpb.GroupBlock, []string{"virtio_blk"}, false, "disks"},
	{agentpb.GroupNet, []string{"virtio_net"}, false, "the network"},
	{agentpb.GroupOverlay, []string{"overlay"}, false, "roots that can be written to"},
	{agentpb.GroupErofs, []string{"erofs"}, true, "root images"},
	{agentpb.GroupSquashfs, []string{"squashfs"}, true, "root images"},
	{agentpb.GroupVirtiofs, []string{"virtiofs"}, true, "volumes"},
	{agentpb.GroupVsock, []string{"vmw_vsock_virtio_transport"}, true, "the channel over vsock"},
	{agentpb.GroupBalloon, []string{"virtio_balloon"}, true, "giving memory back"},
	{agentpb.GroupRNG, []string{"virtio_rng"}, true, "random numbers"},
}

// packedGroup is a group with its files in the order to load them.
type packedGroup struct {
	name  string
	files []string // relative to the modules' directory
}

// moduleIndex is what modules.dep and its neighbours say.
type moduleIndex struct {
	dir     string
	path    map[string]string   // module → its file
	deps    map[string][]string // file → files
	soft    map[string][]string // module → modules to load before, if there are any
	builtin map[string]bool
}

// readModules reads modules.dep(5), modules.builtin and modules.softdep.
func readModules(dir string) (*moduleIndex, error) {
	m := &moduleIndex{
		dir: dir, path: make(map[string]string), deps: make(map[string][]string),
		soft: make(map[string][]string), builtin: make(map[string]bool),
	}
	raw, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return nil, fmt.Errorf("modules: %w", err)
	}
	for line := range strings.Lines(string(raw)) {
		file, deps, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		m.path[moduleName(file)] = file
		m.deps[file] = strings.Fields(deps)
	}
	for _, name := range []string{"modules.builtin", "modules.softdep"} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("modules: %w", err)
		}
		for line := range strings.Lines(string(raw)) {
			if name == "modules.builtin" {
				m.builtin[moduleName(strings.TrimSpace(line))] = true
			} else {
				m.softdep(line)
			}
		}
	}
	return m, nil
}

// softdep reads "softdep NAME pre: A B post: C".
func (m *moduleIndex) softdep(line string) {
	f := strings.Fields(line)
	if len(f) < 3 || f[0] != "softdep" {
		return
	}
	pre := false
	for _, word := range f[2:] {
		if strings.HasSuffix(word, ":") {
			pre = word == "pre:"
		} else if pre {
			name := strings.ReplaceAll(f[1], "-", "_")
			m.soft[name] = append(m.soft[name], strings.ReplaceAll(word, "-", "_"))
		}
	}
}

// moduleName is a module's name by its file: "virtio-rng.ko.xz" is virtio_rng.
func moduleName(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// groups orders the modules of every group. What a needed one lacks is an error
// that names it.
func (m *moduleIndex) groups(release string) ([]packedGroup, error) {
	var out []packedGroup
	transports := 0
	for _, g := range moduleGroups {
		p := packedGroup{name: g.name}
		missing := ""
		for _, name := range g.modules {
			if !m.add(&p, name, make(map[string]bool)) {
				missing = name
			}
		}
		if missing != "" && !g.optional {
			return nil, fmt.Errorf("kernel %s has no module %s, which is needed for %s: %s", release, missing, g.purpose, missingHint(release))
		}
		if missing != "" {
			continue
		}
		if g.name == agentpb.GroupMMIO || g.name == agentpb.GroupPCI {
			transports++
		}
		out = append(out, p)
	}
	if transports == 0 {
		return nil, fmt.Errorf("kernel %s has neither virtio_mmio nor virtio_pci, one of which is needed for devices: %s", release, missingHint(release))
	}
	return out, nil
}

// missingHint names the package that has the modules a smaller one lacks.
func missingHint(release string) string {
	os, _ := os.ReadFile("/etc/os-release")
	if strings.Contains(string(os), "ID=ubuntu") {
		return installHint("linux-modules-extra-" + release)
	}
	return installHint("linux-image-cloud-amd64") + ", or name another kernel with --kernel"
}

// add puts a module after all that it depends on, by modules.dep's own lines.
func (m *moduleIndex) add(p *packedGroup, name string, seen map[string]bool) bool {
	file, ok := m.path[name]
	if !ok {
		return m.builtin[name]
	}
	for _, soft := range m.soft[name] {
		if f, ok := m.path[soft]; ok {
			m.addFile(p, f, seen)
		}
	}
	return m.addFile(p, file, seen)
}

func (m *moduleIndex) addFile(p *packedGroup, file string, seen map[string]bool) bool {
	if seen[file] {
		return true
	}
	seen[file] = true
	deps, ok := m.deps[file]
	if !ok {
		return false
	}
	for _, d := range deps {
		if !m.addFile(p, d, seen) {
			return false
		}
	}
	p.files = append(p.files, file)
	return true
}

// maxModule bounds a module's size.
const maxModule = 64 << 20

// load reads a module, unpacked: the kernel of the guest need not know how it
// was packed.
func (m *moduleIndex) load(file string, stripSignature bool) ([]byte, error) {
	path := filepath.Join(m.dir, file)
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("module: %w", err)
	}
	out, err := decompress(raw, false)
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", path, err)
	}
	if len(out) > maxModule {
		return nil, fmt.Errorf("module %s: %d bytes are too many", path, len(out))
	}
	if stripSignature {
		out = withoutSignature(out)
	}
	return out, nil
}

// signatureMagic ends a module that is signed (scripts/sign-file): the
// signature, struct module_signature with its length, and this.
const (
	signatureMagic  = "~Module signature appended~\n"
	signatureHeader = 12
)

// withoutSignature cuts a module's signature off. The initramfs is ours, so
// that it vouches for nothing; to check it costs a hash over the module.
func withoutSignature(b []byte) []byte {
	body, ok := cutSuffix(b, signatureMagic)
	if !ok || len(body) < signatureHeader {
		return b
	}
	h := body[len(body)-signatureHeader:]
	n := int(h[8])<<24 | int(h[9])<<16 | int(h[10])<<8 | int(h[11])
	if n < 0 || n > len(body)-signatureHeader {
		return b
	}
	return body[:len(body)-signatureHeader-n]
}

func cutSuffix(b []byte, s string) ([]byte, bool) {
	if len(b) < len(s) || string(b[len(b)-len(s):]) != s {
		return b, false
	}
	return b[:len(b)-len(s)], true
}

// signaturesForced says whether the kernel loads no module without one.
func (k *Kernel) signaturesForced() bool {
	config, known := k.config()
	return !known || strings.Contains(config, "\nCONFIG_MODULE_SIG_FORCE=y") // not known: leave them
}

// hz is the rate of the kernel's clock, 0 if it is not known.
func (k *Kernel) hz() uint64 {
	config, _ := k.config()
	_, rest, _ := strings.Cut(config, "\nCONFIG_HZ=")
	value, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.ParseUint(value, 10, 64)
	return n
}

// config is what the kernel was built with.
func (k *Kernel) config() (text string, known bool) {
	raw, err := os.ReadFile(filepath.Join(filepath.Dir(k.Path), "config-"+k.Release))
	return string(raw), err == nil
}
