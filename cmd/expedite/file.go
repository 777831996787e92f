package main

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
)

// defaultFile is read when it exists and no other is named.
const defaultFile = "expedite.yaml"

// fileResolver gives kong the values of the configuration file: below the environment, above the defaults.
type fileResolver struct {
	loaded bool
	known  []string
	values map[string]string
}

// fileError is what is wrong with the configuration file, whichever flag was looked for in it.
type fileError struct{ error }

// document is a configuration file as it was read: all processes of a server go by the same one. Without a name there
// is none.
type document struct {
	Name string `json:"name,omitempty"`
	Text string `json:"text,omitempty"`
}

// Validate is part of kong.Resolver.
func (*fileResolver) Validate(*kong.Application) error { return nil }

// Resolve finds the value of a flag in the file. A command that asks for nothing that may stand there, as stop with
// --control does, works however broken the file is.
func (r *fileResolver) Resolve(ctx *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
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
			err = r.load(doc, r.known)
		}
		if err != nil {
			return nil, fileError{err}
		}
	}
	if v, ok := r.values[flag.Name]; ok {
		return v, nil
	}
	return nil, nil
}

// fileName is the file that the command line or the environment names; empty if none does.
func fileName(ctx *kong.Context) string {
	for _, p := range ctx.Path {
		if p.Flag != nil && p.Flag.Name == "config" {
			if name, ok := ctx.FlagValue(p.Flag).(string); ok {
				return name
			}
		}
	}
	return os.Getenv("EXPEDITE_CONFIG")
}

// knownKeys are the names of all flags of all commands that may stand in a file.
func knownKeys(n *kong.Node) []string {
	var keys []string
	for _, f := range n.Flags {
		if f.Name != "config" && f.Name != "help" && f.Name != "version" {
			keys = append(keys, f.Name)
		}
	}
	for _, child := range n.Children {
		if child.Name == "serve" {
			keys = append(keys, knownKeys(child)...)
		}
	}
	return keys
}

// documentOf finds the configuration file of a command. A server reads it once; its workers, and the program that takes
// its place, are given what it has read.
func documentOf(ctx *kong.Context) (doc document, err error) {
	name := fileName(ctx)
	if !slices.ContainsFunc(ctx.Path, func(p *kong.Path) bool { return p.Command != nil && p.Command.Name == "serve" }) {
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

// readDocument reads a file; without a name, the default one if it is there.
func readDocument(name string) (document, error) {
	named := name != ""
	if !named {
		name = defaultFile
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

// checkSuccessor refuses, at a reload, a file that is not there any more, or has nothing in it. Somebody removed it, or
// is just about to write it: without it, a server would let everyone in that it keeps out.
func (d document) checkSuccessor(before []byte) error {
	var was document
	if len(before) == 0 {
		return nil
	}
	if err := json.Unmarshal(before, &was); err != nil {
		return fmt.Errorf("configuration file: what the server was started with: %w", err)
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

// load takes the values of a file.
func (r *fileResolver) load(file document, known []string) error {
	name := file.Name
	var doc map[string]yaml.Node
	if err := yaml.Unmarshal([]byte(file.Text), &doc); err != nil {
		return fmt.Errorf("configuration file %s: %w", name, err)
	}
	r.values = make(map[string]string, len(doc))
	for key, node := range doc {
		if !slices.Contains(known, key) {
			return fmt.Errorf("configuration file %s, line %d: unknown key %q%s", name, node.Line, key, hint(key, known))
		}
		value, ok := scalars(&node)
		if !ok {
			return fmt.Errorf("configuration file %s, line %d: %s wants a value, or a list of values", name, node.Line, key)
		}
		r.values[key] = value
	}
	return nil
}

// scalars is a value, or those of a list with commas between them, as flags take them.
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

// hint names the known key that looks most like key, or all of them.
func hint(key string, known []string) string {
	like := strings.NewReplacer("_", "-", " ", "-").Replace(strings.ToLower(key))
	for _, k := range known {
		if k == like || distance(k, like) <= 2 {
			return fmt.Sprintf(": did you mean %q?", k)
		}
	}
	known = slices.Clone(known)
	slices.Sort(known)
	return ": known are " + strings.Join(known, ", ")
}

// distance is the Levenshtein distance between a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal, row[j+1] = row[j+1], min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
