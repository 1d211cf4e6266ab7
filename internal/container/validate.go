package container

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// checker collects what is wrong with a configuration: all of it, so that one
// run shows everything there is to mend.
type checker struct {
	joins bool // a pod's VM, whose namespaces it may have
	errs  []error
	warn  func(string, ...any)
}

func (c *checker) errorf(path, format string, a ...any) {
	c.errs = append(c.errs, fmt.Errorf("%s: %s", path, fmt.Sprintf(format, a...)))
}

// treat applies the row of a field that is set: it is refused, or its having no
// effect is stated. row is the name in the table, path that of this instance.
func (c *checker) treat(set bool, row, path string) {
	if !set {
		return
	}
	switch f := fields()[row]; f.what {
	case refused:
		c.errorf(path, "refused: it %s", f.why)
	case stated:
		c.warn("%s has no effect: it %s", path, f.why)
	}
}

func (c *checker) treatField(set bool, path string) { c.treat(set, path, path) }

func (c *checker) err() error { return errors.Join(c.errs...) }

// validate checks a configuration, and warns of what is well-formed and has no
// effect here, behind this wall unless an annotation names the other.
func (cfg *Config) validate(wall Wall, warn func(string, ...any)) error {
	c := &checker{warn: warn}
	if _, joins := podPart(cfg.Annotations); joins != "" {
		c.joins = cfg.wall(wall) == WallVM
	}
	c.version(cfg.Version)
	c.treatField(len(cfg.Solaris) > 0, "solaris")
	c.treatField(len(cfg.Windows) > 0, "windows")
	c.treatField(len(cfg.VM) > 0, "vm")
	c.treatField(len(cfg.ZOS) > 0, "zos")
	c.treatField(len(cfg.FreeBSD) > 0, "freebsd")
	if cfg.Root == nil || cfg.Root.Path == "" {
		c.errorf("root.path", "is required")
	} else {
		c.text("root.path", cfg.Root.Path)
	}
	c.text("hostname", cfg.Hostname)
	c.text("domainname", cfg.Domainname)
	if len(cfg.Hostname) > 64 {
		c.errorf("hostname", "%d bytes; at most 64 fit", len(cfg.Hostname))
	}
	if len(cfg.Domainname) > 64 {
		c.errorf("domainname", "%d bytes; at most 64 fit", len(cfg.Domainname))
	}
	if cfg.Process == nil {
		c.errorf("process", "is required")
	} else {
		c.process("process", cfg.Process)
	}
	c.mounts(cfg.Mounts)
	c.hooks(cfg.Hooks)
	c.annotations(cfg.Annotations)
	if cfg.Linux != nil {
		c.linux(cfg, cfg.Linux)
	} else {
		c.errorf("linux.namespaces", "is required")
	}
	return c.err()
}

func (c *checker) version(v string) {
	if v == "" {
		c.errorf("ociVersion", "is required")
		return
	}
	core, extra, tagged := strings.Cut(v, "-")
	parts := strings.Split(core, ".")
	ok := len(parts) == 3 && (!tagged || extra != "" && onlyOf(extra, idBytes))
	for _, p := range parts {
		ok = ok && p != "" && onlyOf(p, "0123456789")
	}
	switch {
	case !ok:
		c.errorf("ociVersion", "%q is not a version such as %s", v, SpecVersion)
	case parts[0] != "1":
		c.errorf("ociVersion", "%s is not supported; this runtime implements %s", v, SpecVersion)
	}
}

// text refuses a string that the kernel could not be given.
func (c *checker) text(path, s string) {
	if strings.ContainsRune(s, 0) {
		c.errorf(path, "contains a NUL byte")
	}
}

func (c *checker) absolute(path, value string) {
	c.text(path, value)
	if !filepath.IsAbs(value) {
		c.errorf(path, "%q is not an absolute path", value)
	}
}

func (c *checker) hooks(h *specs.Hooks) {
	if h == nil {
		return
	}
	for _, kind := range hookKinds {
		for i, hook := range kind.of(h) {
			path := fmt.Sprintf("hooks.%s[%d]", kind.name, i)
			c.absolute(path+".path", hook.Path)
			for _, s := range append(append([]string(nil), hook.Args...), hook.Env...) {
				c.text(path, s)
			}
			if hook.Timeout != nil && *hook.Timeout <= 0 {
				c.errorf(path+".timeout", "%d is not greater than 0", *hook.Timeout)
			}
		}
	}
}

// Annotations of config.json that this runtime reads.
const (
	annotationPrefix  = "dev.bulkhead."
	overlayAnnotation = "dev.bulkhead.overlay" // none or memory: where writes to the root go
	networkAnnotation = "dev.bulkhead.network" // loopback: no interface of the network namespace
)

func (c *checker) annotations(a map[string]string) {
	for key, value := range a {
		path := "annotations[" + key + "]"
		if key == "" {
			c.errorf(path, "has an empty name")
		}
		var allowed []string
		switch key {
		case WallAnnotation:
			allowed = []string{string(WallSentry), string(WallVM)}
		case overlayAnnotation:
			allowed = []string{"none", "memory"}
		case networkAnnotation:
			allowed = []string{"loopback"}
		default:
			if strings.HasPrefix(key, vmAnnotationPrefix) {
				if err := vmAnnotation(key, value); err != nil {
					c.errorf(path, "%v", err)
				}
				continue
			}
			if strings.HasPrefix(key, annotationPrefix) {
				c.errorf(path, "is no annotation of this runtime")
			}
			continue
		}
		if !contains(allowed, value) {
			c.errorf(path, "%q; want %s", value, strings.Join(allowed, " or "))
		}
	}
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}
