package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// The parts of an OCI config.json that rules look at
// (https://github.com/opencontainers/runtime-spec, config.md and config-linux.md).
type ociConfig struct {
	OCIVersion  string            `json:"ociVersion"`
	Annotations map[string]string `json:"annotations"`
	Mounts      []struct {
		Destination string   `json:"destination"`
		Type        string   `json:"type"`
		Source      string   `json:"source"`
		Options     []string `json:"options"`
	} `json:"mounts"`
	Process *struct {
		Capabilities *struct {
			Bounding []string `json:"bounding"`
		} `json:"capabilities"`
	} `json:"process"`
	Linux *struct {
		Namespaces []struct {
			Type string `json:"type"`
			Path string `json:"path"`
		} `json:"namespaces"`
		Devices []struct {
			Path string `json:"path"`
		} `json:"devices"`
		Resources *struct {
			Devices []struct {
				Allow  bool   `json:"allow"`
				Type   string `json:"type"`
				Access string `json:"access"`
				Major  *int64 `json:"major"`
			} `json:"devices"`
		} `json:"resources"`
		Sysctl      map[string]string `json:"sysctl"`
		MaskedPaths []string          `json:"maskedPaths"`
	} `json:"linux"`
}

// Annotations in which container engines write what a config.json has no field for.
var (
	namespaceKeys = []string{"io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace"}
	nameKeys      = []string{"io.kubernetes.cri.sandbox-name", "io.kubernetes.cri-o.KubeName", "io.kubernetes.pod.name", "nerdctl/name"}
	imageKeys     = []string{"io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName", "org.opencontainers.image.ref.name"}
	labelsKey     = "io.kubernetes.cri-o.Labels"
)

// usualCapabilities are those that engines give to every container.
var usualCapabilities = strings.Fields("AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID SYS_CHROOT")

// engineDirs hold what engines mount into containers: volumes, and files of their own.
var engineDirs = []string{"/var/lib/kubelet/pods/", "/var/lib/containerd/", "/run/containerd/", "/var/lib/nerdctl/", "/var/lib/docker/",
	"/var/lib/containers/", "/run/containers/", "/run/crio/"}

// usualDevices are in every container (config-linux.md, default devices).
var usualDevices = strings.Fields("/dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/console /dev/ptmx")

// readConfig reads a config.json. What runs it is not in it.
func readConfig(file string, data []byte) (*Facts, error) {
	var c ociConfig
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, jsonError(file, data, err)
	}
	f := &Facts{File: file, Line: 1, Kind: "config.json", Annotations: c.Annotations, Labels: map[string]string{}}
	f.Namespace, f.Name = c.annotation(namespaceKeys), c.annotation(nameKeys)
	if image := c.annotation(imageKeys); image != "" {
		f.Images = []string{normalImage(image)}
	}
	if text := c.Annotations[labelsKey]; text != "" {
		if err := json.Unmarshal([]byte(text), &f.Labels); err != nil {
			return nil, fmt.Errorf("%s: annotation %s: %w", file, labelsKey, err)
		}
	}
	c.process(f)
	c.mounts(f)
	c.linux(f)
	return f, nil
}

// jsonError gives the decoder's message a line.
func jsonError(file string, data []byte, err error) error {
	offset := int64(-1)
	var se *json.SyntaxError
	var te *json.UnmarshalTypeError
	switch {
	case errors.As(err, &se):
		offset = se.Offset
	case errors.As(err, &te):
		offset = te.Offset
	}
	if offset < 0 || offset > int64(len(data)) {
		return fmt.Errorf("%s: %w", file, err)
	}
	return fmt.Errorf("%s:%d: %w", file, 1+strings.Count(string(data[:offset]), "\n"), err)
}

func (c *ociConfig) annotation(keys []string) string {
	for _, k := range keys {
		if v := c.Annotations[k]; v != "" {
			return v
		}
	}
	return ""
}

func (c *ociConfig) process(f *Facts) {
	if c.Process == nil || c.Process.Capabilities == nil {
		return
	}
	for _, name := range c.Process.Capabilities.Bounding {
		if !slices.Contains(usualCapabilities, strings.TrimPrefix(name, "CAP_")) {
			f.addCapability(name)
		}
	}
}

// mounts: a directory of the host that is neither the engine's nor a volume.
func (c *ociConfig) mounts(f *Facts) {
	for _, m := range c.Mounts {
		bind := m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
		if !bind || !path.IsAbs(m.Source) {
			continue
		}
		source := path.Clean(m.Source) + "/"
		if !slices.ContainsFunc(engineDirs, func(d string) bool { return strings.HasPrefix(source, d) }) {
			f.add(NeedHostPath, fmt.Sprintf("mount of %s on %s", m.Source, m.Destination))
		}
	}
}

// linux: a missing seccomp profile asks for nothing, as a pod without one does not.
func (c *ociConfig) linux(f *Facts) {
	l := c.Linux
	if l == nil {
		f.add(NeedHostNetwork, "no linux section, so no namespaces")
		return
	}
	own := map[string]bool{}
	for _, n := range l.Namespaces {
		// /proc/1/ns is the host's own; a path of an engine is a pod's.
		own[n.Type] = !strings.HasPrefix(path.Clean(n.Path)+"/", "/proc/1/")
	}
	for kind, need := range map[string]Need{"network": NeedHostNetwork, "pid": NeedHostPID, "ipc": NeedHostIPC} {
		if !own[kind] {
			f.add(need, "no "+kind+" namespace of its own")
		}
	}
	for _, d := range l.Devices {
		if !slices.Contains(usualDevices, path.Clean(d.Path)) {
			f.add(NeedDevice, "device "+d.Path)
		}
	}
	if l.Resources != nil {
		for _, d := range l.Resources.Devices {
			if d.Allow && (d.Type == "a" || d.Type == "") && d.Major == nil && strings.Contains(d.Access, "w") {
				f.add(NeedPrivileged, "every device is allowed")
			}
		}
	}
	if len(l.Sysctl) > 0 {
		f.add(NeedSysctls, "linux.sysctl")
	}
	if len(l.MaskedPaths) == 0 {
		f.add(NeedUnmaskedProc, "no masked paths")
	}
}
