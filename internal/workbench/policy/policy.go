// Package policy owns the command `bulkhead policy`: which runtime a workload
// gets, by rule, and how a cluster is made to enforce it.
//
//	decode, check, schema    the policy file: read by line and column, checked, described
//	kubernetes, oci          what a manifest or a config.json asks for (Facts)
//	match                    the first rule that fits, and why it does
//	cel                      the same decision as the API server takes it
//	report                   what the workbench measured, for costs and overheads
//	explain, render_*        the answers
//
// The decision exists twice, in Go for explain and in CEL for the cluster; a test
// holds the two together over generated pods.
//
// It holds no locks and changes nothing on the machine: it reads files and prints.
package policy

import "fmt"

// Version is the file format that this program reads.
const Version = 1

// Policy is the file. The order of rules counts: the first that matches decides.
type Policy struct {
	Version  int          `yaml:"version" need:"yes" doc:"Version of this file's format: 1."`
	Name     string       `yaml:"name" doc:"Prefix of the names of the cluster's objects. Default: bulkhead."`
	Absent   string       `yaml:"absent" need:"yes" doc:"The runtime that a workload gets which names none: the default runtime of containerd or CRI-O."`
	Default  string       `yaml:"default" need:"yes" doc:"The class of a workload that no rule matches."`
	Runtimes []*Runtime   `yaml:"runtimes" need:"yes" doc:"The runtimes there are. One that is not listed is refused: nobody knows how strong it is."`
	Classes  []*Class     `yaml:"classes" need:"yes" doc:"Classes of workloads, and the wall that each needs."`
	Exempt   []*Exemption `yaml:"exempt" doc:"Namespaces that the policy does not judge."`
	Rules    []*Rule      `yaml:"rules" doc:"Which workload is of which class. The first rule that matches decides."`

	file  string
	pos   positions
	warn  []string // what check found that is no mistake
	named string   // digest, once it was asked for
}

// Wall says what stands between a container's code and the host's kernel. The
// order is by how much of that kernel the code can reach.
type Wall string

const (
	WallNone   Wall = "none"   // namespaces, cgroups and a seccomp profile: the host's kernel answers
	WallSentry Wall = "sentry" // a kernel in user space answers
	WallVM     Wall = "vm"     // a kernel of its own in a virtual machine answers
)

// walls in the order of their strength.
var walls = []Wall{WallNone, WallSentry, WallVM}

// refusal is stronger than every wall: no runtime reaches it.
const refusal = 100

// Strength is the wall's place in the order, -1 for what is no wall.
func (w Wall) Strength() int {
	for i, x := range walls {
		if x == w {
			return i
		}
	}
	return -1
}

// about says in a few words what a wall is.
func (w Wall) about() string {
	switch w {
	case WallNone:
		return "shares the host's kernel"
	case WallSentry:
		return "a kernel in user space"
	case WallVM:
		return "a virtual machine"
	}
	return "unknown"
}

// Runtime is one way to run a container.
type Runtime struct {
	Name         string            `yaml:"name" need:"yes" form:"name" doc:"Name of the RuntimeClass and of containerd's entry."`
	Wall         Wall              `yaml:"wall" need:"yes" enum:"none sentry vm" doc:"The wall it puts up."`
	Handler      string            `yaml:"handler" form:"name" doc:"The handler that the RuntimeClass names. Default: the name."`
	Binary       string            `yaml:"binary" form:"path" doc:"Where the program is on a node. Default: /usr/local/bin/NAME."`
	Report       []string          `yaml:"report" doc:"Its columns in the bench report; the first that was measured counts. Default: the name."`
	Overhead     *Overhead         `yaml:"overhead" doc:"What a pod costs beside its containers, where the bench report does not say."`
	NodeSelector map[string]string `yaml:"node-selector" doc:"Labels of the nodes that have this runtime (RuntimeClass scheduling)."`
}

// Overhead is RuntimeClass.overhead.podFixed.
type Overhead struct {
	Memory string `yaml:"memory" form:"memory" doc:"Memory, such as 24Mi."`
	CPU    string `yaml:"cpu" form:"cpu" doc:"CPU, such as 10m. The workbench does not measure it."`
}

// Class is a kind of workload and the weakest wall it may run behind.
type Class struct {
	Name    string   `yaml:"name" need:"yes" form:"name" doc:"Name of the class."`
	Title   string   `yaml:"title" doc:"Name for people."`
	About   string   `yaml:"about" doc:"Which workloads are meant."`
	Wall    Wall     `yaml:"wall" enum:"none sentry vm" doc:"The weakest wall that is enough; a stronger one is always admitted."`
	Runtime string   `yaml:"runtime" doc:"The runtime that is recommended."`
	Refuse  string   `yaml:"refuse" doc:"In place of wall and runtime: such a workload is refused, and this is what its author is told."`
	Why     string   `yaml:"why" doc:"Why this wall."`
	Cost    []string `yaml:"cost" doc:"Rows of the bench report, WORKLOAD/METRIC, that tell most about the cost."`
}

// strength is what a runtime must reach.
func (c *Class) strength() int {
	if c.Refuse != "" {
		return refusal
	}
	return c.Wall.Strength()
}

func (c *Class) title() string {
	if c.Title != "" {
		return c.Title
	}
	return c.Name
}

// Exemption takes a namespace out of the policy's reach.
type Exemption struct {
	Namespace string `yaml:"namespace" need:"yes" form:"name" doc:"Name of the namespace; no pattern."`
	Why       string `yaml:"why" need:"yes" doc:"Why, for who reviews it."`
}

// Rule gives a class to the workloads it matches.
type Rule struct {
	Name       string `yaml:"name" need:"yes" form:"name" doc:"Name of the rule, shown to who is refused."`
	Match      *Match `yaml:"match" need:"yes" doc:"Conditions, all of which must hold."`
	Class      string `yaml:"class" need:"yes" doc:"The class of what matches."`
	Unanchored string `yaml:"unanchored" doc:"Why this rule may lower the wall on the word of the workload's author alone."`
}

// Match is a rule's conditions: all that are given must hold. A list holds when
// one of its items does. Texts are exact, or a prefix when they end in *.
type Match struct {
	Namespace       Patterns            `yaml:"namespace" doc:"Names of namespaces."`
	NamespaceLabels map[string]Patterns `yaml:"namespace-labels" doc:"Labels of the namespace, each of which must be there; * is any value."`
	Labels          map[string]Patterns `yaml:"labels" doc:"Labels of the pod."`
	Annotations     map[string]Patterns `yaml:"annotations" doc:"Annotations of the pod, or of config.json."`
	ServiceAccount  Patterns            `yaml:"service-account" doc:"The pod's service account."`
	ImageAll        Patterns            `yaml:"image-all" form:"image" doc:"Every image begins with one of these. An image without a registry is docker.io's."`
	ImageAny        Patterns            `yaml:"image-any" form:"image" doc:"Some image begins with one of these."`
	Needs           []Need              `yaml:"needs" enum:"privileged host-network host-pid host-ipc host-path host-port device unmasked-proc unconfined sysctls" doc:"What the workload asks for; one of these is enough."`
	Capabilities    []string            `yaml:"capabilities" form:"capability" doc:"Capabilities that a container adds, such as SYS_ADMIN; one is enough. A container that adds ALL adds each of them."`
	Resources       Patterns            `yaml:"resources" doc:"Extended resources that a container is given, such as nvidia.com/gpu."`
}

// Patterns is one text or a list of them.
type Patterns []string

// Need is something that a workload asks for beyond running.
type Need string

const (
	NeedPrivileged   Need = "privileged"
	NeedHostNetwork  Need = "host-network"
	NeedHostPID      Need = "host-pid"
	NeedHostIPC      Need = "host-ipc"
	NeedHostPath     Need = "host-path"
	NeedHostPort     Need = "host-port"
	NeedDevice       Need = "device"
	NeedUnmaskedProc Need = "unmasked-proc"
	NeedUnconfined   Need = "unconfined"
	NeedSysctls      Need = "sysctls"
)

// needs in the order of the documentation, with what each means.
var needs = []struct {
	need  Need
	about string
}{
	{NeedPrivileged, "a container is privileged"},
	{NeedHostNetwork, "the pod is in the host's network namespace"},
	{NeedHostPID, "the pod sees the host's processes"},
	{NeedHostIPC, "the pod is in the host's IPC namespace"},
	{NeedHostPath, "a directory of the host is mounted"},
	{NeedHostPort, "a port of the host is taken"},
	{NeedDevice, "an extended resource, a resource claim or a block device is given to a container"},
	{NeedUnmaskedProc, "procMount is Unmasked"},
	{NeedUnconfined, "a seccomp or AppArmor profile is Unconfined"},
	{NeedSysctls, "sysctls are set"},
}

// runtime finds a runtime by name, nil when there is none.
func (p *Policy) runtime(name string) *Runtime {
	for _, r := range p.Runtimes {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// class finds a class by name, nil when there is none.
func (p *Policy) class(name string) *Class {
	for _, c := range p.Classes {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Warnings are what the check found that is no mistake but deserves a look.
func (p *Policy) Warnings() []string { return p.warn }

// place is FILE:LINE of an item, for messages.
func (p *Policy) place(path ...any) string {
	at := p.pos.at(path...)
	if at.line == 0 {
		return p.file
	}
	return fmt.Sprintf("%s:%d", p.file, at.line)
}
