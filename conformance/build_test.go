package conformance

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"sync"
	"syscall"
)

// program is one guest program, built: its family's name and the cases it knows, in their order.
type program struct {
	family string
	static bool
	path   string
	cases  []string
}

var compilerFlags = []string{"-O1", "-pthread", "-Wall", "-Wno-stringop-overflow", "-Wno-stringop-overread", "-Wno-infinite-recursion",
	"-Wno-nonnull", "-Wno-array-bounds", "-Wno-unused-result", "-Wno-maybe-uninitialized"}

// families lists the guest programs' names: every guest/*.c but the runner itself.
func families() ([]string, error) {
	sources, err := filepath.Glob("guest/*.c")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range sources {
		if name := strings.TrimSuffix(filepath.Base(s), ".c"); name != "case" {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names, nil
}

// buildGuests compiles every family, dynamic and (unless the run is short) static, and puts the programs into dir, which
// any user must be able to reach. What did not change since the last run comes from the cache in bin/conformance.
func buildGuests(dir string, static bool) ([]*program, error) {
	names, err := families()
	if err != nil {
		return nil, err
	}
	var all []*program
	for _, n := range names {
		all = append(all, &program{family: n, path: filepath.Join(dir, n)})
		if static {
			all = append(all, &program{family: n, static: true, path: filepath.Join(dir, n+"-static")})
		}
	}
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	room := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, p := range all {
		wg.Add(1)
		go func() {
			defer wg.Done()
			room <- struct{}{}
			defer func() { <-room }()
			errs[i] = p.build()
		}()
	}
	wg.Wait()
	return all, errors.Join(errs...)
}

func (p *program) build() error {
	source := filepath.Join("guest", p.family+".c")
	args := append([]string{}, compilerFlags...)
	if p.static {
		args = append(args, "-static")
	}
	key := sha256.New()
	fmt.Fprintln(key, args)
	for _, f := range []string{source, "guest/case.c", "guest/case.h"} {
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		key.Write(b)
	}
	cache := filepath.Join("..", "bin", "conformance")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	cached := filepath.Join(cache, filepath.Base(p.path)+"."+hex.EncodeToString(key.Sum(nil))[:16])
	if _, err := os.Stat(cached); err != nil {
		tmp := fmt.Sprintf("%s.%d", cached, os.Getpid())
		args = append(args, "-o", tmp, source, "guest/case.c", "-lrt", "-lutil")
		if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("building guest program %s: %w\n%s", source, err, out)
		}
		if err := os.Rename(tmp, cached); err != nil {
			return err
		}
	}
	if err := copyFile(cached, p.path); err != nil {
		return err
	}
	out, err := exec.Command(p.path, "-l").Output()
	if err != nil {
		return fmt.Errorf("listing the cases of %s: %w", p.path, err)
	}
	p.cases = strings.Fields(string(out))
	return nil
}

// copyFile makes an executable copy. Nothing may be forked meanwhile: a child would hold the copy open for writing until its
// own exec, and running the copy would fail with ETXTBSY.
func copyFile(from, to string) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	if err := out.Chmod(0o755); err != nil {
		return err
	}
	return out.Close()
}
