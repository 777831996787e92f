// Package configfile gives the command line the values of a configuration file in YAML. The file is flat: each key is
// the name of a flag.
package configfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/internal/spelling"
)

// Default is the file that is read if it exists and no other is named.
const Default = "expedite.yaml"

const (
	flagName = "config" // of the flag that names the file
	variable = "EXPEDITE_CONFIG"
	server   = "serve" // the command whose flags may be in the file
)

// Resolver resolves flags from the configuration file: below the environment, above the defaults. The zero value is
// ready.
type Resolver struct {
	loaded bool
	known  []string
	values map[string]string
}

// Error is an error of the configuration file, as opposed to one of the flag that was to be resolved.
type Error struct{ error }

// Unwrap returns the cause.
func (e Error) Unwrap() error { return e.error }

// document is the content of a configuration file. All processes of a server use the same one. Without a name there is
// no file.
type document struct {
	Name string `json:"name,omitempty"`
	Text string `json:"text,omitempty"`
}

// Validate implements kong.Resolver. There is nothing to validate before the file is read.
func (*Resolver) Validate(*kong.Application) error { return nil }

// Resolve returns the value of a flag in the file, or nil. It reads the file at the first flag that may be in it and
// has no variable: a command like stop --control works even if the file is broken.
func (r *Resolver) Resolve(ctx *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if r.known == nil {
		r.known = knownKeys(ctx.Model.Node)
	}
	if !slices.Contains(r.known, flag.Name) {
		return nil, nil
	}
	for _, env := range flag.Envs {
		if _, ok := os.LookupEnv(env); ok {
			return nil, nil
		}
	}
	if !r.loaded {
		r.loaded = true
		doc, err := documentOf(ctx)
		if err == nil {
			r.values, err = doc.parse(r.known)
		}
		if err != nil {
			return nil, Error{err}
		}
	}
	if v, ok := r.values[flag.Name]; ok {
		return v, nil
	}
	return nil, nil
}

// fileName returns the file that the command line or the environment names, or "".
func fileName(ctx *kong.Context) string {
	for _, p := range ctx.Path {
		if p.Flag != nil && p.Flag.Name == flagName {
			if name, ok := ctx.FlagValue(p.Flag).(string); ok {
				return name
			}
		}
	}
	return os.Getenv(variable)
}

// knownKeys returns the names of all flags that may be in the file.
func knownKeys(n *kong.Node) []string {
	var keys []string
	for _, f := range n.Flags {
		if f.Name != flagName && f.Name != "help" && f.Name != "version" {
			keys = append(keys, f.Name)
		}
	}
	for _, child := range n.Children {
		if child.Name == server {
			keys = append(keys, knownKeys(child)...)
		}
	}
	return keys
}

// documentOf returns the configuration file of a command. A server reads it once and passes the content to its workers
// and to the program that replaces it.
func documentOf(ctx *kong.Context) (doc document, err error) {
	name := fileName(ctx)
	if !slices.ContainsFunc(ctx.Path, func(p *kong.Path) bool { return p.Command != nil && p.Command.Name == server }) {
		return readDocument(name)
	}
	b, err := expedite.Resolve(func(before []byte) ([]byte, error) {
		doc, err := readDocument(name)
		if err == nil {
			err = doc.checkSuccessor(before)
		}
		if err != nil {
			return nil, err
		}
		return json.Marshal(doc)
	})
	if err == nil {
		err = json.Unmarshal(b, &doc)
	}
	return doc, err
}

// readDocument reads a file. Without a name it reads the default one, which need not exist.
func readDocument(name string) (document, error) {
	named := name != ""
	if !named {
		name = Default
	}
	b, err := os.ReadFile(name)
	if !named && errors.Is(err, fs.ErrNotExist) {
		return document{}, nil
	}
	if err != nil {
		return document{}, fmt.Errorf("configuration file: %w", err)
	}
	return document{Name: name, Text: string(b)}, nil
}

// checkSuccessor refuses, at a reload, a file that is missing or empty although the previous one was neither. Someone
// has removed it or is about to write it. Without it, a server would admit clients that it refuses now.
func (d document) checkSuccessor(before []byte) error {
	var was document
	if len(before) == 0 {
		return nil
	}
	if err := json.Unmarshal(before, &was); err != nil {
		return fmt.Errorf("configuration file of the running server: %w", err)
	}
	what := ""
	switch {
	case strings.TrimSpace(was.Text) == "":
		return nil
	case d.Name == "":
		what = "is gone"
	case strings.TrimSpace(d.Text) == "":
		what = "is empty"
	default:
		return nil
	}
	return fmt.Errorf("configuration file %s, which this server was started with, %s: put it back, or restart the server",
		was.Name, what)
}

// parse returns the values of the file by key.
func (d document) parse(known []string) (map[string]string, error) {
	var doc map[string]yaml.Node
	if err := yaml.Unmarshal([]byte(d.Text), &doc); err != nil {
		return nil, fmt.Errorf("configuration file %s: %w", d.Name, err)
	}
	values := make(map[string]string, len(doc))
	for key, node := range doc {
		where := fmt.Sprintf("configuration file %s, line %d", d.Name, node.Line)
		if !slices.Contains(known, key) {
			return nil, fmt.Errorf("%s: unknown key %q%s", where, key, spelling.Suggest(key, known))
		}
		value, ok := scalars(&node)
		if !ok {
			return nil, fmt.Errorf("%s: %s wants a value, or a list of values", where, key)
		}
		values[key] = value
	}
	return values, nil
}

// scalars returns a value, or the values of a list separated by commas, as flags take them.
func scalars(node *yaml.Node) (string, bool) {
	if node.Kind == yaml.ScalarNode {
		return node.Value, true
	}
	var list []string
	for _, item := range node.Content {
		if node.Kind != yaml.SequenceNode || item.Kind != yaml.ScalarNode {
			return "", false
		}
		list = append(list, item.Value)
	}
	return strings.Join(list, ","), node.Kind == yaml.SequenceNode
}

var _ kong.Resolver = (*Resolver)(nil)
