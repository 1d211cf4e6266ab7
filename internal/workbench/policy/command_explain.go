package policy

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// labelFlags collects K=V.
type labelFlags map[string]string

func (l labelFlags) String() string { return "" }

func (l labelFlags) Set(s string) error {
	k, v, ok := strings.Cut(s, "=")
	if !ok || !labelKey.MatchString(k) {
		return fmt.Errorf("%q: want NAME=VALUE", s)
	}
	l[k] = v
	return nil
}

// explainOptions are explain's own flags.
type explainOptions struct {
	form, namespace, runtime string
	labels                   labelFlags
}

func (c *command) explain(args []string) error {
	o := explainOptions{labels: labelFlags{}}
	f := c.flags("explain")
	f.StringVar(&o.form, "o", "text", "")
	f.StringVar(&o.namespace, "namespace", "default", "")
	f.StringVar(&o.namespace, "n", "default", "")
	f.StringVar(&o.runtime, "runtime", "", "")
	f.Var(o.labels, "namespace-label", "")
	files, err := c.parse(f, args)
	if err != nil {
		return err
	}
	if o.form != "text" && o.form != "json" {
		return wrong("-o %s: want text or json", o.form)
	}
	if len(files) == 0 {
		return wrong("explain: name a file of manifests or a config.json, or - for standard input")
	}
	p, err := c.load()
	if err != nil {
		return err
	}
	r, err := LoadReport(c.report)
	if err != nil {
		return usageError{err}
	}
	all, err := c.read(files, o)
	if err != nil {
		return usageError{err}
	}
	if len(all) == 0 {
		return wrong("explain: %s: nothing in it runs containers", strings.Join(files, ", "))
	}
	e := p.Explain(all, r)
	var b bytes.Buffer
	if o.form == "json" {
		err = e.JSON(&b)
	} else {
		err = e.Text(&b)
	}
	if err == nil {
		err = c.write(b.String())
	}
	if err == nil && e.Refused() > 0 {
		return errFindings
	}
	return err
}

// read takes the workloads out of the files. A Namespace in one file is known to
// the pods of all.
func (c *command) read(files []string, o explainOptions) ([]*Facts, error) {
	var all []*Facts
	spaces := map[string]map[string]string{}
	for _, file := range files {
		data, err := c.readFile(file)
		if err != nil {
			return nil, err
		}
		name := file
		if file == "-" {
			name = "standard input"
		}
		some, more, err := ReadWorkloads(name, data)
		if err != nil {
			return nil, err
		}
		for k, v := range more {
			spaces[k] = v
		}
		all = append(all, some...)
	}
	for _, f := range all {
		if !f.RuntimeSaid && o.runtime != "" {
			f.Runtime, f.RuntimeSaid = o.runtime, true
		}
		if f.Namespace == "" && f.Kind != "config.json" {
			f.Namespace = o.namespace
		}
		labels, known := spaces[f.Namespace]
		if !known && (f.Namespace == o.namespace || f.Namespace == "") {
			labels, known = o.labels, len(o.labels) > 0
		}
		f.inNamespace(labels, known)
	}
	return all, nil
}

func (c *command) readFile(file string) ([]byte, error) {
	if file != "-" {
		return readLimited(file)
	}
	data, err := io.ReadAll(io.LimitReader(c.stdin, maxInput+1))
	if err == nil && len(data) > maxInput {
		err = fmt.Errorf("standard input: more than %d bytes", maxInput)
	}
	return data, err
}

// ReadWorkloads reads a file of manifests, or a config.json: JSON that has an
// ociVersion and no kind. Beside the workloads it returns the labels of the
// namespaces that the file defines.
func ReadWorkloads(file string, data []byte) ([]*Facts, map[string]map[string]string, error) {
	if looksLikeConfig(file, data) {
		f, err := readConfig(file, data)
		if err != nil {
			return nil, nil, err
		}
		return []*Facts{f}, nil, nil
	}
	return readManifests(file, data)
}

func looksLikeConfig(file string, data []byte) bool {
	if !bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return false
	}
	return bytes.Contains(data, []byte(`"ociVersion"`)) && !bytes.Contains(data, []byte(`"apiVersion"`)) || filepath.Base(file) == "config.json"
}
