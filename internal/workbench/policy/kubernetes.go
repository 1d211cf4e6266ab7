package policy

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The parts of Kubernetes' objects that rules look at. Everything else of a
// manifest is the API server's to judge.
type (
	object struct {
		APIVersion string    `yaml:"apiVersion"`
		Kind       string    `yaml:"kind"`
		Metadata   meta      `yaml:"metadata"`
		Spec       yaml.Node `yaml:"spec"`
		Items      yaml.Node `yaml:"items"`
	}
	meta struct {
		Name         string            `yaml:"name"`
		GenerateName string            `yaml:"generateName"`
		Namespace    string            `yaml:"namespace"`
		Labels       map[string]string `yaml:"labels"`
		Annotations  map[string]string `yaml:"annotations"`
	}
	template struct {
		Metadata meta    `yaml:"metadata"`
		Spec     podSpec `yaml:"spec"`
	}
	podSpec struct {
		RuntimeClassName    *string      `yaml:"runtimeClassName"`
		ServiceAccountName  string       `yaml:"serviceAccountName"`
		ServiceAccount      string       `yaml:"serviceAccount"` // its old name
		HostNetwork         bool         `yaml:"hostNetwork"`
		HostPID             bool         `yaml:"hostPID"`
		HostIPC             bool         `yaml:"hostIPC"`
		SecurityContext     *podSecurity `yaml:"securityContext"`
		InitContainers      []container  `yaml:"initContainers"`
		Containers          []container  `yaml:"containers"`
		EphemeralContainers []container  `yaml:"ephemeralContainers"`
		Volumes             []struct {
			Name     string         `yaml:"name"`
			HostPath map[string]any `yaml:"hostPath"`
		} `yaml:"volumes"`
		ResourceClaims []any `yaml:"resourceClaims"`
	}
	podSecurity struct {
		Seccomp  *profile `yaml:"seccompProfile"`
		AppArmor *profile `yaml:"appArmorProfile"`
		Sysctls  []any    `yaml:"sysctls"`
	}
	profile struct {
		Type string `yaml:"type"`
	}
	container struct {
		Name            string           `yaml:"name"`
		Image           string           `yaml:"image"`
		SecurityContext *securityOptions `yaml:"securityContext"`
		Ports           []struct {
			HostPort int `yaml:"hostPort"`
		} `yaml:"ports"`
		Resources struct {
			Limits map[string]any `yaml:"limits"`
		} `yaml:"resources"`
		VolumeDevices []any `yaml:"volumeDevices"`
	}
	securityOptions struct {
		Privileged   bool `yaml:"privileged"`
		Capabilities struct {
			Add []string `yaml:"add"`
		} `yaml:"capabilities"`
		ProcMount string   `yaml:"procMount"`
		Seccomp   *profile `yaml:"seccompProfile"`
		AppArmor  *profile `yaml:"appArmorProfile"`
	}
)

// templateKinds are the objects whose spec.template is a pod's.
var templateKinds = map[string]string{
	"Deployment": "apps", "ReplicaSet": "apps", "StatefulSet": "apps", "DaemonSet": "apps",
	"Job": "batch", "ReplicationController": "",
}

// readManifests takes the workloads out of a file of manifests, and the labels of
// the namespaces that it defines.
func readManifests(file string, data []byte) ([]*Facts, map[string]map[string]string, error) {
	var out []*Facts
	spaces := map[string]map[string]string{}
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return out, spaces, nil
		}
		if err != nil {
			return nil, nil, syntax(file, err)
		}
		if len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
			continue
		}
		if err := readObject(file, doc.Content[0], &out, spaces, 0); err != nil {
			return nil, nil, err
		}
	}
}

// readObject reads one object; depth bounds lists within lists.
func readObject(file string, n *yaml.Node, out *[]*Facts, spaces map[string]map[string]string, depth int) error {
	var o object
	if err := decodeLoose(file, n, &o); err != nil {
		return err
	}
	here := position{n.Line, n.Column}
	if o.Kind == "" {
		return mistake(file, here, "no kind: want a Kubernetes object")
	}
	if o.APIVersion == "v1" && strings.HasSuffix(o.Kind, "List") || o.Items.Kind == yaml.SequenceNode {
		if depth > 3 {
			return mistake(file, here, "lists within lists within lists")
		}
		for _, item := range o.Items.Content {
			if err := readObject(file, item, out, spaces, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	if o.Kind == "Namespace" && o.APIVersion == "v1" {
		spaces[o.Metadata.Name] = o.Metadata.Labels
		return nil
	}
	group, _, _ := strings.Cut(o.APIVersion, "/")
	if group == o.APIVersion {
		group = ""
	}
	t, err := podOf(file, &o, group)
	if err != nil || t == nil {
		return err
	}
	f := t.facts()
	f.File, f.Line, f.Kind, f.Name, f.Namespace = file, n.Line, o.Kind, o.Metadata.Name, o.Metadata.Namespace
	if f.Name == "" {
		f.Name = o.Metadata.GenerateName + "*"
	}
	*out = append(*out, f)
	return nil
}

// podOf finds the pod in an object: itself, or its template. Nil is an object
// that runs nothing.
func podOf(file string, o *object, group string) (*template, error) {
	var t template
	switch g, known := templateKinds[o.Kind]; {
	case o.Kind == "Pod" && group == "":
		t.Metadata = o.Metadata
		return &t, decodeLoose(file, &o.Spec, &t.Spec)
	case o.Kind == "CronJob" && group == "batch":
		var s struct {
			JobTemplate struct {
				Spec struct {
					Template template `yaml:"template"`
				} `yaml:"spec"`
			} `yaml:"jobTemplate"`
		}
		err := decodeLoose(file, &o.Spec, &s)
		return &s.JobTemplate.Spec.Template, err
	case known && g == group:
		var s struct {
			Template template `yaml:"template"`
		}
		err := decodeLoose(file, &o.Spec, &s)
		return &s.Template, err
	}
	return templateOf(o), nil
}

// templateOf finds a pod's template where controllers of others keep it too, such
// as a Rollout's or a Knative Service's. What has another shape is no workload.
func templateOf(o *object) *template {
	var s struct {
		Template *template `yaml:"template"`
	}
	if o.Spec.Kind != yaml.MappingNode || o.Spec.Decode(&s) != nil || s.Template == nil || len(s.Template.Spec.Containers) == 0 {
		return nil
	}
	return s.Template
}

// decodeLoose decodes what is known of an object and puts the file's name into
// the decoder's messages.
func decodeLoose(file string, n *yaml.Node, into any) error {
	if n.Kind == 0 {
		return nil
	}
	err := n.Decode(into)
	var te *yaml.TypeError
	if errors.As(err, &te) {
		var errs []error
		for _, e := range te.Errors {
			errs = append(errs, errors.New(file+":"+strings.TrimPrefix(e, "line ")))
		}
		return errors.Join(errs...)
	}
	if err != nil {
		return syntax(file, err)
	}
	return nil
}

// facts are the pod's.
func (t *template) facts() *Facts {
	s := &t.Spec
	f := &Facts{Labels: t.Metadata.Labels, Annotations: t.Metadata.Annotations, RuntimeSaid: true}
	if s.RuntimeClassName != nil {
		f.Runtime = *s.RuntimeClassName
	}
	f.ServiceAccount = s.ServiceAccountName
	if f.ServiceAccount == "" {
		f.ServiceAccount = s.ServiceAccount
	}
	if f.ServiceAccount == "" {
		f.ServiceAccount = "default"
	}
	for n, asked := range map[Need]bool{NeedHostNetwork: s.HostNetwork, NeedHostPID: s.HostPID, NeedHostIPC: s.HostIPC} {
		if asked {
			f.add(n, "the pod")
		}
	}
	for _, v := range s.Volumes {
		if v.HostPath != nil {
			f.add(NeedHostPath, fmt.Sprintf("volume %q", v.Name))
		}
	}
	if len(s.ResourceClaims) > 0 {
		f.add(NeedDevice, "resourceClaims")
	}
	if c := s.SecurityContext; c != nil {
		if unconfined(c.Seccomp) || unconfined(c.AppArmor) {
			f.add(NeedUnconfined, "the pod")
		}
		if len(c.Sysctls) > 0 {
			f.add(NeedSysctls, "the pod")
		}
	}
	for _, list := range [][]container{s.Containers, s.InitContainers, s.EphemeralContainers} {
		for i := range list {
			list[i].facts(f)
		}
	}
	return f
}

func unconfined(p *profile) bool { return p != nil && p.Type == "Unconfined" }

func (c *container) facts(f *Facts) {
	where := fmt.Sprintf("container %q", c.Name)
	f.Images = append(f.Images, normalImage(c.Image))
	for _, p := range c.Ports {
		if p.HostPort != 0 {
			f.add(NeedHostPort, where)
		}
	}
	if len(c.VolumeDevices) > 0 {
		f.add(NeedDevice, where)
	}
	for _, name := range sortedKeys(c.Resources.Limits) { // an extended resource has a limit, always
		if !standardResource(name) {
			f.Resources = append(f.Resources, name)
			f.add(NeedDevice, where+": "+name)
		}
	}
	o := c.SecurityContext
	if o == nil {
		return
	}
	if o.Privileged {
		f.add(NeedPrivileged, where)
	}
	if o.ProcMount == "Unmasked" {
		f.add(NeedUnmaskedProc, where)
	}
	if unconfined(o.Seccomp) || unconfined(o.AppArmor) {
		f.add(NeedUnconfined, where)
	}
	for _, name := range o.Capabilities.Add {
		f.addCapability(name)
	}
}
