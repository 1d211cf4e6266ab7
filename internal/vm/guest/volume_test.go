//go:build vm

package guest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// TestVolume mounts a virtio-fs share. Debian's needs root: virtiofsd does.
func TestVolume(t *testing.T) {
	const daemon = "/usr/lib/qemu/virtiofsd"
	if os.Geteuid() != 0 {
		t.Skip("needs root: virtiofsd does")
	}
	if _, err := os.Stat(daemon); err != nil {
		t.Skip("missing: virtiofsd; apt-get install qemu-system-common")
	}
	dir := t.TempDir()
	vol := filepath.Join(dir, "vol")
	if err := os.MkdirAll(filepath.Join(vol, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"sub/f": "from the host\n", "one": "a file\n", "other": "not this\n"} {
		if err := os.WriteFile(filepath.Join(vol, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sock := filepath.Join(dir, "fs.sock")
	fs := exec.Command(daemon, "--socket-path="+sock, "-o", "source="+vol, "-o", "cache=auto", "-o", "sandbox=chroot")
	fs.Stderr = os.Stderr
	if err := fs.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fs.Process.Kill(); fs.Wait() })
	for i := 0; i < 5000; i++ {
		if _, err := os.Stat(sock); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	v := bootWithRoot(t, busybox(t), Erofs,
		"-object", "memory-backend-memfd,id=mem,size=256M,share=on", "-machine", "memory-backend=mem",
		"-chardev", "socket,id=fs,path="+sock, "-device", "vhost-user-fs-device,chardev=fs,tag=vol")
	c := config(Erofs, "sh", "-c", "cat /vol/f; echo from the guest >/vol/g; cat /file; ls /vol/..|grep -c other; ls /; echo x 2>/dev/null >/ro/g; echo $?")
	share := &agentpb.Storage{Source: &agentpb.Storage_VirtiofsTag{VirtiofsTag: "vol"}}
	c.Mounts = append(c.Mounts,
		&agentpb.Mount{Destination: "/vol", Type: "bind", Bind: &agentpb.Bind{Storage: share, Path: "sub"}},
		&agentpb.Mount{Destination: "/file", Type: "bind", Bind: &agentpb.Bind{Storage: share, Path: "one"}},
		&agentpb.Mount{Destination: "/ro", Type: "bind", Bind: &agentpb.Bind{Storage: share, Path: "/sub"}, Flags: 1})
	r := v.run(t, "vol", c, "")
	if want := "from the host\na file\n0\nbin\ndev\netc\nfile\nproc\nro\nroot\nsys\ntmp\nvol\n1\n"; r.out != want {
		t.Errorf("got %q, want %q (%+v)", r.out, want, r)
	}
	if raw, err := os.ReadFile(filepath.Join(vol, "sub/g")); err != nil || string(raw) != "from the guest\n" {
		t.Errorf("the host sees %q, %v", raw, err)
	}
}
