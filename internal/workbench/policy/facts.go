package policy

import (
	"slices"
	"strings"
)

// maxInput bounds a file of manifests.
const maxInput = 16 << 20

// Facts are what rules look at, taken from a manifest or a config.json.
type Facts struct {
	File string
	Line int
	Kind string // Pod, Deployment, … or config.json
	Name string

	Namespace       string
	NamespaceLabels map[string]string
	NamespaceKnown  bool // the labels are known, not taken for none

	Labels         map[string]string
	Annotations    map[string]string
	ServiceAccount string
	Images         []string // normalised
	Capabilities   []string // added, without CAP_
	Resources      []string // extended
	Needs          map[Need]string

	Runtime     string // runtimeClassName, or what --runtime says
	RuntimeSaid bool   // false: config.json, which does not say what runs it
}

// add notes a need and where it was seen; the first place counts.
func (f *Facts) add(n Need, where string) {
	if f.Needs == nil {
		f.Needs = map[Need]string{}
	}
	if _, seen := f.Needs[n]; !seen {
		f.Needs[n] = where
	}
}

func (f *Facts) addCapability(name string) {
	name = strings.TrimPrefix(strings.ToUpper(name), "CAP_")
	if !slices.Contains(f.Capabilities, name) {
		f.Capabilities = append(f.Capabilities, name)
	}
}

// nameLabel is on every namespace, set by the API server.
const nameLabel = "kubernetes.io/metadata.name"

// inNamespace sets the namespace's labels; known is false when nobody told them.
func (f *Facts) inNamespace(labels map[string]string, known bool) {
	f.NamespaceLabels, f.NamespaceKnown = map[string]string{}, known
	for k, v := range labels {
		f.NamespaceLabels[k] = v
	}
	if f.Namespace != "" {
		f.NamespaceLabels[nameLabel] = f.Namespace
	}
}

// normalImage writes an image as its registry reads it: nginx is
// docker.io/library/nginx. Registries do not care about case, so neither does a
// rule. The same is done in CEL, see celImages.
func normalImage(image string) string {
	image = strings.ToLower(image)
	first, rest, slash := strings.Cut(image, "/")
	switch {
	case !slash:
		image = "docker.io/library/" + image
	case first != "localhost" && !strings.ContainsAny(first, ".:"):
		image = "docker.io/" + image
	case (first == "docker.io" || first == "index.docker.io") && !strings.Contains(rest, "/"):
		image = "docker.io/library/" + rest
	case first == "index.docker.io":
		image = "docker.io/" + rest
	}
	return image
}

// standardResource says that a container may be given it without a device.
func standardResource(name string) bool {
	return !strings.Contains(name, "/") || strings.HasPrefix(name, "kubernetes.io/")
}
