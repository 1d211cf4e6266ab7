package policy

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"bulkhead.dev/bulkhead/internal/workbench/results"
)

// Exit codes of the command.
const (
	exitOK       = 0
	exitFindings = 1 // a policy with mistakes, a workload that would be refused
	exitUsage    = 2 // wrong usage, or a file that cannot be read
)

const usage = `usage: bulkhead policy init [--out FILE]
       bulkhead policy check [--strict] FILE
       bulkhead policy explain [flags] MANIFESTS.yaml|config.json|- ...
       bulkhead policy render kubernetes [flags]
       bulkhead policy render containerd|crio [flags]
       bulkhead policy render runbook [flags]
       bulkhead policy schema [--out FILE]

Chooses a runtime for each workload by rule, and has a cluster enforce it.

init      prints the built-in policy, to start one's own from
check     finds the mistakes of a policy, by line and column
explain   says which class and runtime each pod, pod template or config.json gets, which rule decides,
          whether admission would let it in as it is, and what the runtime costs by the last bench report
render    writes what enforces the policy: RuntimeClasses and ValidatingAdmissionPolicies, containerd's
          or CRI-O's runtime entries, or the matrix as a page for the runbook
schema    prints the JSON schema of the policy file

  --policy FILE          the policy (default: the built-in one)
  --report FILE          the bench report's results.json, or "none" (default: the latest of
                         report/, docs/report/ and report/containerd/)
  --out FILE             write there, not to standard output
explain:
  -o text|json           the form of the answer
  --namespace NAME       the namespace of objects that name none (default: default)
  --namespace-label K=V  a label of that namespace; may be given several times. Namespaces
                         that are among the manifests are known by their own labels
  --runtime NAME         what a config.json is run by: then it is judged too
render kubernetes:
  --actions A,B          what the bindings do: Deny (the default), Warn, Audit
  --assign               also write a MutatingAdmissionPolicy, which fills in runtimeClassName
render containerd:
  --config-version N     3 for containerd 2 (the default), 2 for containerd 1
  --systemd-cgroup       the kubelet's cgroup driver is systemd

Examples:
  bulkhead policy init --out policy.yaml && bulkhead policy check policy.yaml
  bulkhead policy explain --namespace-label bulkhead.dev/trust=customer pod.yaml
  bulkhead policy explain --runtime bulkhead config.json
  bulkhead policy render kubernetes --policy policy.yaml --actions Warn,Audit | kubectl apply --server-side -f -
  bulkhead policy render runbook --report report/results.json --out runbook.md

Exit status: 0 good, 1 the policy has mistakes or a workload would be refused as it
is, 2 wrong usage or a file that cannot be read.
`

// errFindings has been printed already.
var errFindings = errors.New("")

// usageError is wrong usage, or input that cannot be read.
type usageError struct{ error }

func wrong(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// Main runs the command with these arguments, the name of the program left out.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	err := run(args, stdin, stdout, stderr)
	var u usageError
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.Is(err, errFindings):
		return exitFindings
	case errors.As(err, &u):
		fmt.Fprintf(stderr, "bulkhead policy: %v\n", err)
		return exitUsage
	}
	fmt.Fprintln(stderr, err) // FILE:LINE:COLUMN: …, as editors want it
	return exitFindings
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		return wrong("want init, check, explain, render or schema (bulkhead policy --help)")
	}
	c := &command{stdin: stdin, stdout: stdout, stderr: stderr}
	switch args[0] {
	case "init":
		return c.print(args, func() (string, error) { return string(defaultPolicy), nil })
	case "schema":
		return c.print(args, func() (string, error) { return string(Schema()), nil })
	case "check":
		return c.check(args[1:])
	case "explain":
		return c.explain(args[1:])
	case "render":
		return c.render(args[1:])
	case "help", "-h", "-help", "--help":
		_, err := io.WriteString(stdout, usage)
		return err
	}
	return wrong("no verb %q%s: want init, check, explain, render or schema", args[0], near(args[0], []string{"init", "check", "explain", "render", "schema"}))
}

// command is one run of it.
type command struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	policy, report, out string
}

// flags are those that several verbs have.
func (c *command) flags(name string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&c.policy, "policy", "", "")
	f.StringVar(&c.report, "report", "", "")
	f.StringVar(&c.out, "out", "", "")
	return f
}

// parse reads flags wherever they stand among the arguments.
func (c *command) parse(f *flag.FlagSet, args []string) ([]string, error) {
	var rest []string
	for {
		if err := f.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				io.WriteString(c.stdout, usage)
				return nil, err
			}
			return nil, wrong("%v (bulkhead policy --help shows the flags)", err)
		}
		if f.NArg() == 0 {
			return rest, nil
		}
		rest = append(rest, f.Arg(0))
		args = f.Args()[1:]
	}
}

func (c *command) load() (*Policy, error) {
	if c.policy == "" {
		return Default()
	}
	data, err := readLimited(c.policy)
	if err != nil {
		return nil, wrong("--policy: %w", err)
	}
	return Parse(c.policy, data)
}

// write puts the answer where it is wanted, a file in one step.
func (c *command) write(text string) error {
	if c.out == "" || c.out == "-" {
		_, err := io.WriteString(c.stdout, text)
		return err
	}
	if err := results.WriteFile(c.out, []byte(text)); err != nil {
		return usageError{err}
	}
	return nil
}

// print is a verb without input.
func (c *command) print(args []string, text func() (string, error)) error {
	rest, err := c.parse(c.flags(args[0]), args[1:])
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return wrong("%s: unexpected argument %q", args[0], rest[0])
	}
	s, err := text()
	if err != nil {
		return err
	}
	return c.write(s)
}

func (c *command) check(args []string) error {
	f := c.flags("check")
	strict := f.Bool("strict", false, "")
	rest, err := c.parse(f, args)
	if err != nil {
		return err
	}
	if len(rest) > 0 && c.policy == "" {
		c.policy, rest = rest[0], rest[1:]
	}
	if len(rest) > 0 || c.policy == "" {
		return wrong("check: want one FILE (bulkhead policy init prints one to start from)")
	}
	p, err := c.load()
	if err != nil {
		return err
	}
	for _, w := range p.Warnings() {
		fmt.Fprintf(c.stderr, "%s (warning)\n", w)
	}
	if *strict && len(p.Warnings()) > 0 {
		return errFindings
	}
	fmt.Fprintf(c.stdout, "%s: %d rules, %d classes, %d runtimes: good\n", c.policy, len(p.Rules), len(p.Classes), len(p.Runtimes))
	return nil
}

func (c *command) render(args []string) error {
	if len(args) == 0 {
		return wrong("render: want kubernetes, containerd, crio or runbook")
	}
	f := c.flags("render")
	actions := f.String("actions", "Deny", "")
	assign := f.Bool("assign", false, "")
	version := f.Int("config-version", 3, "")
	systemd := f.Bool("systemd-cgroup", false, "")
	rest, err := c.parse(f, args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return wrong("render: want one of kubernetes, containerd, crio, runbook")
	}
	acts, err := actionList(*actions)
	if err != nil {
		return err
	}
	p, err := c.load()
	if err != nil {
		return err
	}
	r, err := LoadReport(c.report)
	if err != nil {
		return usageError{err}
	}
	var text string
	switch rest[0] {
	case "kubernetes":
		text, err = p.Kubernetes(r, kubernetesOptions{actions: acts, assign: *assign})
	case "containerd":
		text, err = p.Containerd(*version, *systemd)
	case "crio":
		text = p.CRIO()
	case "runbook":
		text = p.Runbook(r)
	default:
		return wrong("render %s: want kubernetes, containerd, crio or runbook%s", rest[0], near(rest[0], []string{"kubernetes", "containerd", "crio", "runbook"}))
	}
	if err != nil {
		return usageError{err}
	}
	return c.write(text)
}

// actionList checks validationActions: the API refuses Deny together with Warn.
func actionList(s string) ([]string, error) {
	var out []string
	has := map[string]bool{}
	for _, a := range strings.Split(s, ",") {
		a = strings.TrimSpace(a)
		if a != "Deny" && a != "Warn" && a != "Audit" {
			return nil, wrong("--actions %q: want Deny, Warn or Audit", a)
		}
		if !has[a] {
			out = append(out, a)
		}
		has[a] = true
	}
	if has["Deny"] && has["Warn"] {
		return nil, wrong("--actions: Deny and Warn exclude each other: what is denied needs no warning")
	}
	return out, nil
}
