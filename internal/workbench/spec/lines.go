package spec

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decode reads one YAML document strictly: a field that does not exist is a
// mistake, not a remark. It returns the node tree for the lines of later
// messages.
func decode(file string, data []byte, into any) (*yaml.Node, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return nil, fmt.Errorf("%s: %s", place(file, badLine(data, reason(err))), reason(err))
	}
	if len(root.Content) == 0 {
		return nil, fmt.Errorf("%s: the file is empty", file)
	}
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	dec.KnownFields(true)
	if err := dec.Decode(into); err != nil {
		return nil, explain(file, err)
	}
	return root.Content[0], nil
}

// reason is a syntax error without the decoder's own line, which is that of
// something around the mistake.
func reason(err error) string {
	if m := lineError.FindStringSubmatch(err.Error()); m != nil {
		return m[2]
	}
	return strings.TrimPrefix(err.Error(), "yaml: ")
}

// badLine finds the line of a syntax error: the first at which the text so far
// has the same mistake. It is 0 in a file too long to look.
func badLine(data []byte, why string) int {
	const longest = 64 << 10
	if len(data) > longest {
		return 0
	}
	line, end := 0, 0
	for end < len(data) {
		if i := bytes.IndexByte(data[end:], '\n'); i >= 0 {
			end += i + 1
		} else {
			end = len(data)
		}
		line++
		var n yaml.Node
		if err := yaml.Unmarshal(data[:end], &n); err != nil && reason(err) == why {
			return line
		}
	}
	return line
}

var (
	unknownField = regexp.MustCompile(`^line (\d+): field (\S+) not found in type spec\.(\w+)$`)
	lineError    = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)
)

// explain turns the decoder's errors into FILE:LINE: MESSAGE, one per line.
func explain(file string, err error) error {
	var te *yaml.TypeError
	if !errors.As(err, &te) {
		return errors.New(atLine(file, err.Error()))
	}
	var out []string
	for _, e := range te.Errors {
		out = append(out, atLine(file, e))
	}
	return errors.New(strings.Join(out, "\n"))
}

func atLine(file, msg string) string {
	if m := unknownField.FindStringSubmatch(msg); m != nil {
		return fmt.Sprintf("%s:%s: unknown field %q in a %s", file, m[1], m[2], strings.ToLower(strings.TrimPrefix(m[3], "file")))
	}
	if m := lineError.FindStringSubmatch(msg); m != nil {
		return fmt.Sprintf("%s:%s: %s", file, m[1], m[2])
	}
	return file + ": " + strings.TrimPrefix(msg, "yaml: ")
}

// lineOf finds the line of the item at path: map keys and list indices.
func lineOf(n *yaml.Node, path ...any) int {
	line := 0
	for _, p := range path {
		if n == nil {
			return line
		}
		line = n.Line
		switch p := p.(type) {
		case int:
			if p >= len(n.Content) {
				return line
			}
			n = n.Content[p]
			line = n.Line
		case string:
			next := (*yaml.Node)(nil)
			for i := 0; i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value == p {
					next, line = n.Content[i+1], n.Content[i].Line
				}
			}
			n = next
		}
	}
	return line
}

func place(file string, line int) string {
	if line == 0 {
		return file
	}
	return file + ":" + strconv.Itoa(line)
}
