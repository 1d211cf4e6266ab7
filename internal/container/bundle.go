package container

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// maxConfigJSON bounds config.json, process.json and resources.json.
const maxConfigJSON = 16 << 20

// Config is config.json. It is specs.Spec, whose platforms other than Linux are
// only looked at to be refused: to decode their types would take longer than
// all the rest.
type Config struct {
	Version     string            `json:"ociVersion"`
	Process     *specs.Process    `json:"process,omitempty"`
	Root        *specs.Root       `json:"root,omitempty"`
	Hostname    string            `json:"hostname,omitempty"`
	Domainname  string            `json:"domainname,omitempty"`
	Mounts      []specs.Mount     `json:"mounts,omitempty"`
	Hooks       *specs.Hooks      `json:"hooks,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Linux       *specs.Linux      `json:"linux,omitempty"`

	Solaris json.RawMessage `json:"solaris,omitempty"`
	Windows json.RawMessage `json:"windows,omitempty"`
	VM      json.RawMessage `json:"vm,omitempty"`
	ZOS     json.RawMessage `json:"zos,omitempty"`
	FreeBSD json.RawMessage `json:"freebsd,omitempty"`
}

// bundle is a directory with a config.json that has been checked.
type bundle struct {
	dir    string // absolute
	config *Config
	rootfs string // absolute, links resolved
}

// loadBundle reads and checks the bundle in dir ("" is the current directory).
// wall is where it goes if it does not say itself.
func loadBundle(dir string, wall Wall, warn func(string, ...any)) (*bundle, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("bundle %q: %w", dir, err)
	}
	path := filepath.Join(abs, "config.json")
	raw, err := readLimited(path)
	if err != nil {
		return nil, err
	}
	cfg, err := parseConfig(raw, warn)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	b := &bundle{dir: abs, config: cfg}
	if err := cfg.validate(wall, warn); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, b.findRoot()
}

// readLimited reads a JSON file of at most maxConfigJSON bytes.
func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.IsDir() {
		return nil, fmt.Errorf("%s is a directory", path)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxConfigJSON+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxConfigJSON {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, maxConfigJSON)
	}
	return raw, nil
}

// parseConfig decodes config.json. The specification has a runtime go on when
// it meets a property it does not know; that is said, not done in silence.
func parseConfig(raw []byte, warn func(string, ...any)) (*Config, error) {
	cfg := new(Config)
	if fastDecode(raw, cfg) {
		return cfg, nil
	}
	*cfg = Config{}
	return cfg, decodeJSON(raw, cfg, warn)
}

func decodeJSON(raw []byte, into any, warn func(string, ...any)) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err != nil && strings.HasPrefix(err.Error(), "json: unknown field ") {
		warn("%s is not in version %s of the specification and has no effect", strings.TrimPrefix(err.Error(), "json: unknown field "), SpecVersion)
		dec = json.NewDecoder(bytes.NewReader(raw))
		err = dec.Decode(into)
	}
	if err != nil {
		return describeJSON(err, raw)
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("malformed JSON: more data after the end, at byte %d", dec.InputOffset())
	}
	return nil
}

// describeJSON names the field or the place that could not be decoded.
func describeJSON(err error, raw []byte) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		line := 1 + bytes.Count(raw[:min(int(syntax.Offset), len(raw))], []byte("\n"))
		return fmt.Errorf("malformed JSON in line %d: %w", line, err)
	case errors.As(err, &kind) && kind.Field != "":
		return fmt.Errorf("%s: want %s, got a JSON %s", kind.Field, kind.Type, kind.Value)
	case errors.As(err, &kind):
		return fmt.Errorf("want a JSON object, got a JSON %s", kind.Value)
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return errors.New("malformed JSON: it ends too early")
	}
	return fmt.Errorf("malformed JSON: %w", err)
}

// findRoot resolves root.path, relative to the bundle.
func (b *bundle) findRoot() error {
	path := b.config.Root.Path
	if !filepath.IsAbs(path) {
		path = filepath.Join(b.dir, path)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("root.path: %w", err)
	}
	st, err := os.Stat(real)
	if err != nil {
		return fmt.Errorf("root.path: %w", err)
	}
	if !st.IsDir() {
		return fmt.Errorf("root.path: %s is not a directory", path)
	}
	b.rootfs = real
	return nil
}
