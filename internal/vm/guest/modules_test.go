package guest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// testModules is a directory of modules as depmod leaves it. without are left
// out.
func testModules(t *testing.T, without ...string) string {
	t.Helper()
	dir := t.TempDir()
	deps := map[string]string{
		"drivers/virtio/virtio.ko": "", "drivers/virtio/virtio_ring.ko": "drivers/virtio/virtio.ko",
		"drivers/virtio/virtio_mmio.ko":     "drivers/virtio/virtio.ko drivers/virtio/virtio_ring.ko",
		"drivers/char/virtio_console.ko.xz": "drivers/virtio/virtio.ko drivers/virtio/virtio_ring.ko",
		"drivers/block/virtio_blk.ko":       "drivers/virtio/virtio_ring.ko drivers/virtio/virtio.ko",
		"net/core/failover.ko":              "", "drivers/net/net_failover.ko": "net/core/failover.ko",
		"drivers/net/virtio_net.ko":            "drivers/net/net_failover.ko net/core/failover.ko drivers/virtio/virtio.ko drivers/virtio/virtio_ring.ko",
		"drivers/char/hw_random/virtio-rng.ko": "drivers/virtio/virtio.ko",
		"fs/overlayfs/overlay.ko":              "", "lib/libcrc32c.ko": "", "fs/erofs/erofs.ko": "lib/libcrc32c.ko", "crypto/crc32c_fast.ko": "",
	}
	var text strings.Builder
	for file, d := range deps {
		if slices.Contains(without, moduleName(file)) {
			continue
		}
		fmt.Fprintf(&text, "%s: %s\n", file, d)
		write(t, filepath.Join(dir, file), "\x7fELF module "+moduleName(file))
	}
	write(t, filepath.Join(dir, "modules.dep"), text.String())
	write(t, filepath.Join(dir, "modules.builtin"), "kernel/fs/squashfs/squashfs.ko\n")
	write(t, filepath.Join(dir, "modules.softdep"), "# comment\nsoftdep libcrc32c pre: crc32c-fast\nsoftdep erofs pre: crc32c-fast no-such post: later\n")
	// The one that is packed.
	xz := filepath.Join(dir, "drivers/char/virtio_console.ko.xz")
	if out, err := exec.Command("sh", "-c", "printf '\\177ELF module virtio_console' | xz --check=crc32 >"+xz).CombinedOutput(); err != nil {
		t.Fatalf("xz: %v %s", err, out)
	}
	return dir
}

func TestModuleOrder(t *testing.T) {
	m, err := readModules(testModules(t))
	if err != nil {
		t.Fatal(err)
	}
	groups, err := m.groups("1.0")
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, g := range groups {
		var names []string
		for _, f := range g.files {
			names = append(names, moduleName(f))
		}
		got[g.name] = strings.Join(names, " ")
	}
	for group, want := range map[string]string{
		agentpb.GroupMMIO: "virtio virtio_ring virtio_mmio", agentpb.GroupBoot: "virtio virtio_ring virtio_console",
		agentpb.GroupNet:   "failover net_failover virtio virtio_ring virtio_net",
		agentpb.GroupErofs: "crc32c_fast libcrc32c erofs", agentpb.GroupSquashfs: "", agentpb.GroupRNG: "virtio virtio_rng",
	} {
		if g, ok := got[group]; !ok || g != want {
			t.Errorf("%s: %q, want %q", group, g, want)
		}
	}
	if _, ok := got[agentpb.GroupPCI]; ok {
		t.Error("a group without its module is there")
	}
}

func TestMissingModule(t *testing.T) {
	for without, want := range map[string]string{"virtio_blk": "virtio_blk", "failover": "virtio_net", "virtio_mmio": "virtio_mmio", "overlay": "overlay"} {
		m, err := readModules(testModules(t, without))
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.groups("6.1.0-small")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "linux-") {
			t.Errorf("without %s: %v", without, err)
		}
	}
}

func TestSignature(t *testing.T) {
	body := []byte("module's bytes")
	sig := "signature"
	signed := append(append([]byte(nil), body...), sig...)
	signed = append(signed, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, byte(len(sig)))
	signed = append(signed, signatureMagic...)
	if got := withoutSignature(signed); !bytes.Equal(got, body) {
		t.Errorf("%q", got)
	}
	for _, same := range [][]byte{body, []byte(signatureMagic), append([]byte("xxxxxxxx\xff\xff\xff\xff"), signatureMagic...)} {
		if got := withoutSignature(same); !bytes.Equal(got, same) {
			t.Errorf("%q became %q", same, got)
		}
	}
}

// readCpio is a reader of the format, to hold the writer to it.
func readCpio(t *testing.T, b []byte) map[string]string {
	t.Helper()
	out := make(map[string]string)
	for at := 0; ; {
		h := b[at : at+110]
		if string(h[:6]) != "070701" {
			t.Fatalf("no header at %d: %q", at, h[:6])
		}
		field := func(i int) int {
			n, err := strconv.ParseUint(string(h[6+8*i:14+8*i]), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			return int(n)
		}
		mode, size, namesize := field(1), field(6), field(11)
		name := string(b[at+110 : at+110+namesize-1])
		at = (at + 110 + namesize + 3) &^ 3
		if name == "TRAILER!!!" {
			if at != len(b) {
				t.Errorf("%d bytes after the end", len(b)-at)
			}
			return out
		}
		out[name] = fmt.Sprintf("%o %d:%d %s", mode, field(9), field(10), b[at:at+size])
		at = (at + size + 3) &^ 3
	}
}

func TestInitramfs(t *testing.T) {
	boot, _ := testHost(t)
	c := testCache(t)
	dir := testModules(t)
	k := &Kernel{Path: filepath.Join(boot, "vmlinuz-1.0"), Release: "1.0", Modules: dir}
	agent := filepath.Join(boot, AgentName)
	write(t, agent, string(testELF("x", 1)))
	e, err := c.Initramfs(k, agent)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	raw, err := os.ReadFile(e.Path)
	if err != nil {
		t.Fatal(err)
	}
	files := readCpio(t, raw)
	if files["init"] != "100755 0:0 "+string(testELF("x", 1)) || files["dev/console"] != "20600 5:1 " || files["proc"] != "40755 0:0 " {
		t.Errorf("files: %q", files)
	}
	index := strings.TrimPrefix(files[agentpb.ModulesIndex], "100444 0:0 ")
	for line := range strings.Lines(index) {
		f := strings.Fields(line)
		for _, file := range f[1:] {
			_, name, _ := strings.Cut(strings.TrimSuffix(file, ".ko"), "-")
			if got := files[agentpb.ModulesDir+"/"+file]; got != "100444 0:0 \x7fELF module "+name {
				t.Errorf("%s: %q", file, got)
			}
		}
	}
	if !strings.Contains(index, agentpb.GroupSquashfs+"\n") {
		t.Errorf("index: %q", index)
	}
	// Another agent is another initramfs.
	write(t, agent, string(testELF("y", 1)))
	other, err := c.Initramfs(k, agent)
	if err != nil || other.Path == e.Path {
		t.Errorf("another agent: %v, %v", other, err)
	}
	other.Close()
	write(t, agent, "#!/bin/sh")
	if _, err := c.Initramfs(k, agent); err == nil {
		t.Error("a script as the agent")
	}
	os.Remove(filepath.Join(dir, "fs/overlayfs/overlay.ko"))
	if _, err := c.Initramfs(k, agent); err == nil || !strings.Contains(err.Error(), "depmod") {
		t.Errorf("a module that is not there: %v", err)
	}
}

// A kernel that loads no module without a signature keeps its certificates, and
// so does one of which nothing is known.
func TestCommandLineKeepsCertificates(t *testing.T) {
	for config, keeps := range map[string]bool{
		"\nCONFIG_MODULE_SIG=y\nCONFIG_HZ=250\n": false,
		"\nCONFIG_MODULE_SIG_FORCE=y\n":          true,
		"":                                       true,
	} {
		boot := t.TempDir()
		if config != "" {
			write(t, filepath.Join(boot, "config-1.0"), config)
		}
		k := &Kernel{Path: filepath.Join(boot, "vmlinuz-1.0"), Release: "1.0"}
		line := k.CommandLine(1000)
		if got := !strings.Contains(line, "load_system_certificate_list"); got != keeps || !strings.Contains(line, "trace_eval_init") {
			t.Errorf("config %q: %s", config, line)
		}
	}
}
