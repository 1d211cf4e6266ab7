package container

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// walkFields calls f for every field reachable from t, by its path in the form
// of the table.
func walkFields(t reflect.Type, path string, f func(path string)) {
	switch t.Kind() {
	case reflect.Pointer:
		walkFields(t.Elem(), path, f)
	case reflect.Slice:
		walkFields(t.Elem(), path+"[]", f)
	case reflect.Map:
		walkFields(t.Elem(), path+"{}", f)
	case reflect.Struct:
		for i := range t.NumField() {
			sf := t.Field(i)
			name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
			if sf.Anonymous && name == "" {
				walkFields(sf.Type, path, f)
				continue
			}
			sub := name
			if path != "" {
				sub = path + "." + name
			}
			f(sub)
			walkFields(sf.Type, sub, f)
		}
	}
}

// closed says whether a parent of path is refused or stated as a whole.
func closed(path string) bool {
	for {
		i := strings.LastIndexAny(path, ".[{")
		if i < 0 {
			return false
		}
		path = path[:i]
		if f, ok := fields()[path]; ok && f.what != honoured {
			return true
		}
	}
}

// TestEveryFieldHasARow fails when a version of the specification brings a
// field that the table does not treat.
func TestEveryFieldHasARow(t *testing.T) {
	seen := make(map[string]bool)
	walkFields(reflect.TypeFor[specs.Spec](), "", func(path string) {
		seen[path] = true
		if _, ok := fields()[path]; !ok && !closed(path) {
			t.Errorf("%s has no row in the table of fields", path)
		}
	})
	for path, f := range fields() {
		if !seen[path] {
			t.Errorf("the table treats %s, which is no field", path)
		}
		if f.what != honoured && f.why == "" {
			t.Errorf("%s is not honoured and says not why", path)
		}
	}
}

// TestConfigHasSpecsFields holds Config against specs.Spec.
func TestConfigHasSpecsFields(t *testing.T) {
	want, got := make(map[string]bool), make(map[string]bool)
	top := func(m map[string]bool) func(string) {
		return func(path string) {
			if !strings.ContainsAny(path, ".[{") {
				m[path] = true
			}
		}
	}
	walkFields(reflect.TypeFor[specs.Spec](), "", top(want))
	walkFields(reflect.TypeFor[Config](), "", top(got))
	if !reflect.DeepEqual(want, got) {
		t.Errorf("Config has %v, specs.Spec %v", got, want)
	}
}

// fill puts a value that is not zero into the field at path, making what is on
// the way.
func fill(v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		fill(v.Elem(), path)
		return
	case reflect.Slice:
		if strings.HasPrefix(path, "[]") {
			path = strings.TrimPrefix(strings.TrimPrefix(path, "[]"), ".")
			if v.Len() == 0 {
				v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			}
			fill(v.Index(0), path)
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		return
	case reflect.Map:
		m := reflect.MakeMap(v.Type())
		m.SetMapIndex(reflect.ValueOf("x").Convert(v.Type().Key()), reflect.Zero(v.Type().Elem()))
		v.Set(m)
		return
	case reflect.Struct:
		if path == "" {
			return
		}
		for i := range v.NumField() {
			sf := v.Type().Field(i)
			name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
			rest, ok := strings.CutPrefix(path, name)
			if name != "" && ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
				fill(v.Field(i), strings.TrimPrefix(rest, "."))
				return
			}
		}
		panic("no field " + path)
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	default:
		panic("kind " + v.Kind().String() + " at " + path)
	}
}

// good is a configuration that is accepted without a warning.
func good() *specs.Spec {
	s := SpecTemplate(false)
	s.Process.Terminal = false
	return s
}

func checkSpec(t *testing.T, s any) (err error, warnings string) {
	t.Helper()
	raw, jerr := json.Marshal(s)
	if jerr != nil {
		t.Fatal(jerr)
	}
	return checkJSON(raw)
}

func checkJSON(raw []byte) (err error, warnings string) {
	warn := func(format string, a ...any) { warnings += format + "\n"; _ = a }
	cfg, err := parseConfig(raw, warn)
	if err == nil {
		err = cfg.validate(WallSentry, warn)
	}
	return err, warnings
}

// TestRefusedFieldsAreRefused sets each field that the table refuses or states,
// and asks for the error or the warning.
func TestRefusedFieldsAreRefused(t *testing.T) {
	if err, warnings := checkSpec(t, good()); err != nil || warnings != "" {
		t.Fatalf("the template itself: %v, %s", err, warnings)
	}
	for path, f := range fields() {
		if f.what == honoured {
			continue
		}
		s := good()
		switch {
		case strings.HasPrefix(path, "mounts[]"):
			s.Mounts = s.Mounts[:1]
		case strings.HasPrefix(path, "linux.personality"):
			s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux}
		case strings.HasPrefix(path, "linux.seccomp"):
			s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow}
		}
		fill(reflect.ValueOf(s), path)
		err, warnings := checkSpec(t, s)
		name := strings.ReplaceAll(path, "[]", "[0]")
		if f.what == refused && (err == nil || !strings.Contains(err.Error(), name+": refused")) {
			t.Errorf("%s is set: error %v", path, err)
		}
		if f.what == stated && !strings.Contains(warnings, "has no effect") {
			t.Errorf("%s is set: warnings %q", path, warnings)
		}
	}
}

// TestMalformed gives bad configurations; each error must name the field.
func TestMalformed(t *testing.T) {
	edit := func(f func(s *specs.Spec)) []byte {
		s := good()
		f(s)
		raw, _ := json.Marshal(s)
		return raw
	}
	neg := -5
	for _, tc := range []struct {
		raw  []byte
		want string
	}{
		{[]byte(""), "ends too early"},
		{[]byte("{"), "malformed JSON"},
		{[]byte("{}{}"), "more data"},
		{[]byte("[]"), "want a JSON object"},
		{[]byte("{\n\n!}"), "line 3"},
		{[]byte(`{"ociVersion":3}`), "ociVersion"},
		{[]byte(`{"process":{"user":{"uid":-1}}}`), "process.user.uid"},
		{[]byte(`{"process":{"args":"sh"}}`), "process.args"},
		{[]byte(`{}`), "ociVersion: is required"},
		{edit(func(s *specs.Spec) { s.Version = "2.0.0" }), "ociVersion: 2.0.0 is not supported"},
		{edit(func(s *specs.Spec) { s.Version = "one" }), "ociVersion"},
		{edit(func(s *specs.Spec) { s.Root = nil }), "root.path"},
		{edit(func(s *specs.Spec) { s.Process = nil }), "process: is required"},
		{edit(func(s *specs.Spec) { s.Process.Args = nil }), "process.args"},
		{edit(func(s *specs.Spec) { s.Process.Args = []string{"a\x00b"} }), "process.args[0]"},
		{edit(func(s *specs.Spec) { s.Process.Env = []string{"a\x00b"} }), "process.env[0]"},
		{edit(func(s *specs.Spec) { s.Process.Cwd = "here" }), "process.cwd"},
		{edit(func(s *specs.Spec) { s.Process.OOMScoreAdj = ptr(-2000) }), "process.oomScoreAdj"},
		{edit(func(s *specs.Spec) { s.Process.User.Umask = ptr(uint32(0o1777)) }), "process.user.umask"},
		{edit(func(s *specs.Spec) { s.Process.Rlimits[0].Type = "RLIMIT_X" }), "process.rlimits[0].type"},
		{edit(func(s *specs.Spec) { s.Process.Rlimits = append(s.Process.Rlimits, s.Process.Rlimits[0]) }), "process.rlimits[1].type: RLIMIT_NOFILE is given twice"},
		{edit(func(s *specs.Spec) { s.Process.Rlimits[0].Soft = 1 << 40 }), "process.rlimits[0].soft"},
		{edit(func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{Policy: "SCHED_X"} }), "process.scheduler"},
		{edit(func(s *specs.Spec) {
			s.Process.IOPriority = &specs.LinuxIOPriority{Class: "IOPRIO_CLASS_BE", Priority: 9}
		}), "process.ioPriority"},
		{edit(func(s *specs.Spec) { s.Process.ExecCPUAffinity = &specs.CPUAffinity{Final: "3-1"} }), "process.execCPUAffinity.final"},
		{edit(func(s *specs.Spec) { s.Hostname = strings.Repeat("h", 65) }), "hostname"},
		{edit(func(s *specs.Spec) { s.Mounts[1].Destination = "dev" }), "mounts[1].destination"},
		{edit(func(s *specs.Spec) { s.Mounts[1].Type = "ext4" }), "mounts[1]: type \"ext4\" is refused"},
		{edit(func(s *specs.Spec) { s.Mounts[1].Options = []string{"bind"}; s.Mounts[1].Source = "" }), "mounts[1].source"},
		{edit(func(s *specs.Spec) { s.Mounts[1].Options = []string{"rbind", "idmap"} }), "mounts[1]: option \"idmap\" is refused"},
		{edit(func(s *specs.Spec) { s.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "x"}}} }), "hooks.poststop[0].path"},
		{edit(func(s *specs.Spec) { s.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "/x", Timeout: &neg}}} }), "hooks.poststop[0].timeout"},
		{edit(func(s *specs.Spec) { s.Annotations = map[string]string{"dev.bulkhead.x": "y"} }), "annotations[dev.bulkhead.x]"},
		{edit(func(s *specs.Spec) { s.Annotations = map[string]string{WallAnnotation: "brick"} }), "annotations[dev.bulkhead.wall]"},
		{edit(func(s *specs.Spec) { s.Linux = nil }), "linux.namespaces"},
		{edit(func(s *specs.Spec) { s.Linux.Namespaces[0].Type = "x" }), "linux.namespaces[0].type"},
		{edit(func(s *specs.Spec) { s.Linux.Namespaces[0].Path = "/proc/1/ns/pid" }), "linux.namespaces[0].path: refused"},
		{edit(func(s *specs.Spec) { s.Linux.Namespaces[1].Path = "x" }), "linux.namespaces[1].path"},
		{edit(func(s *specs.Spec) { s.Linux.Namespaces[1].Type = specs.PIDNamespace }), "linux.namespaces[1].type: \"pid\" is given twice"},
		{edit(func(s *specs.Spec) { s.Linux.Namespaces = s.Linux.Namespaces[1:] }), "linux.namespaces: refused without \"pid\""},
		{edit(func(s *specs.Spec) { s.Linux.Namespaces[1].Type = specs.UserNamespace }), "refused without \"network\""},
		{edit(func(s *specs.Spec) { s.Linux.Namespaces[3].Type = specs.TimeNamespace }), "hostname: needs a uts namespace"},
		{edit(func(s *specs.Spec) { s.Linux.UIDMappings = []specs.LinuxIDMapping{{Size: 1}} }), "linux.uidMappings: needs a user namespace"},
		{edit(func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"kernel.panic": "1"} }), "linux.sysctl[kernel.panic]: refused"},
		{edit(func(s *specs.Spec) { s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "d"}} }), "linux.devices[0].type"},
		{edit(func(s *specs.Spec) { s.Linux.RootfsPropagation = "x" }), "linux.rootfsPropagation"},
		{edit(func(s *specs.Spec) { s.Linux.MaskedPaths = []string{"x"} }), "linux.maskedPaths[0]"},
		{edit(func(s *specs.Spec) { s.Linux.ReadonlyPaths = []string{"x"} }), "linux.readonlyPaths[0]"},
		{edit(func(s *specs.Spec) { s.Linux.Personality = &specs.LinuxPersonality{Domain: "BSD"} }), "linux.personality.domain"},
		{edit(func(s *specs.Spec) { s.Linux.Resources = &specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "a"}} }), "linux.resources.cpu.cpus"},
		{edit(func(s *specs.Spec) {
			s.Linux.Resources = &specs.LinuxResources{Unified: map[string]string{"../x": "1"}}
		}), "linux.resources.unified"},
		{edit(func(s *specs.Spec) { s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: "X"} }), "linux.seccomp.defaultAction"},
	} {
		err, _ := checkJSON(tc.raw)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%.200s\n\terror %v\n\twant  %s", tc.raw, err, tc.want)
		}
	}
}

func ptr[T any](v T) *T { return &v }

// TestUnknownProperty: the specification has a runtime go on; the log says it.
func TestUnknownProperty(t *testing.T) {
	raw, _ := json.Marshal(good())
	raw = append([]byte(`{"novelty":1,`), raw[1:]...)
	if err, warnings := checkJSON(raw); err != nil || !strings.Contains(warnings, "has no effect") {
		t.Errorf("%v, warnings %q", err, warnings)
	}
}

// TestDevicesWithoutDriver: their nodes are made; that nothing is behind them is
// said.
func TestDevicesWithoutDriver(t *testing.T) {
	for _, d := range []specs.LinuxDevice{{Path: "/dev/kvm", Type: "c", Major: 10, Minor: 232}, {Path: "/dev/sda", Type: "b", Major: 8}} {
		s := good()
		s.Linux.Devices = []specs.LinuxDevice{d}
		raw, _ := json.Marshal(s)
		if err, warnings := checkJSON(raw); err != nil || !strings.Contains(warnings, "the node is made") {
			t.Errorf("%s: %v, warnings %q", d.Path, err, warnings)
		}
	}
}

func TestBundleFiles(t *testing.T) {
	dir := t.TempDir()
	load := func() error {
		_, err := loadBundle(dir, WallSentry, func(string, ...any) {})
		return err
	}
	if err := load(); err == nil || !strings.Contains(err.Error(), "config.json") {
		t.Errorf("no config.json: %v", err)
	}
	raw, _ := json.Marshal(good())
	os.WriteFile(filepath.Join(dir, "config.json"), raw, 0o644)
	if err := load(); err == nil || !strings.Contains(err.Error(), "root.path") {
		t.Errorf("no rootfs: %v", err)
	}
	os.WriteFile(filepath.Join(dir, "rootfs"), nil, 0o644)
	if err := load(); err == nil || !strings.Contains(err.Error(), "is not a directory") {
		t.Errorf("rootfs is a file: %v", err)
	}
	os.Remove(filepath.Join(dir, "rootfs"))
	os.Symlink("rootfs", filepath.Join(dir, "rootfs"))
	if err := load(); err == nil {
		t.Error("rootfs is a link to itself")
	}
}

func TestIDs(t *testing.T) {
	for id, ok := range map[string]bool{
		"a": true, "A-b_c.d+e": true, "": false, ".": false, "..": false, "a/b": false, "a b": false, "a\n": false, "é": false,
		strings.Repeat("x", 2000): false,
	} {
		if err := checkID(id); (err == nil) != ok {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// FuzzConfig: no input makes the checks or what follows them panic.
func FuzzConfig(f *testing.F) {
	raw, _ := json.Marshal(good())
	f.Add(raw)
	rootless, _ := json.Marshal(SpecTemplate(true))
	f.Add(rootless)
	f.Add([]byte(`{"linux":{"seccomp":{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"op":"SCMP_CMP_MASKED_EQ"}]}]}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		warn := func(string, ...any) {}
		cfg, err := parseConfig(raw, warn)
		if err != nil || cfg.validate(WallSentry, warn) != nil {
			return
		}
		processOf(cfg.Process)
		if _, err := compileSeccomp(cfg.Linux.Seccomp); err != nil {
			t.Errorf("a checked profile does not compile: %v", err)
		}
		for i := range cfg.Mounts {
			if _, err := parseMount(&cfg.Mounts[i]); err != nil {
				t.Errorf("a checked mount: %v", err)
			}
		}
		resourcesOf(cfg.Linux.Resources)
		limitsOf(cfg.Linux.Resources)
		devicesOf(cfg.Linux.Devices)
	})
}
