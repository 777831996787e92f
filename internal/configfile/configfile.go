// Package configfile reads the configuration file, in YAML. The file is flat: each key is the name of a setting. All
// processes of a server use the same file, read once.
package configfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/expedite-go/expedite"
)

// Default is the file that is read if it exists and no other is named.
const Default = "expedite.yaml"

// File is a configuration file. The zero File is none.
type File struct {
	Name    string
	Entries []Entry
}

// Entry is a key with its value.
type Entry struct {
	Key  string
	Line int
	// Texts is the value, or the values of a list.
	Texts []string
	List  bool
}

// Error is an error of the configuration file, as opposed to one of a flag.
type Error struct {
	error
	// Line is that of the key; 0 if the error is about the whole file.
	Line int
}

// NewError returns an error about a line, with a text of [fmt.Errorf].
func NewError(line int, format string, args ...any) Error {
	return Error{fmt.Errorf(format, args...), line}
}

// Unwrap returns the cause.
func (e Error) Unwrap() error { return e.error }

// Read reads the file with a name. Without a name, it reads the default file if that exists.
func Read(name string) (File, error) {
	doc, err := readDocument(name)
	if err != nil {
		return File{}, Error{err, 0}
	}
	return doc.parse()
}

// ReadOnce reads the file of a server as [Read] does, but once for the whole program: the processes that a server
// starts get the text that it has read. In a trial of a reload, it refuses a file that has disappeared, and returns the
// file of the running program as well; else running is nil.
func ReadOnce(name string) (file File, running *File, err error) {
	b, err := expedite.Resolve(func(before []byte) ([]byte, error) {
		doc, err := readDocument(name)
		if err == nil {
			err = doc.checkSuccessor(before)
		}
		if err == nil && before != nil {
			running, err = parseRunning(before)
		}
		if err != nil {
			return nil, err
		}
		return json.Marshal(doc)
	})
	var doc document
	if err == nil {
		err = json.Unmarshal(b, &doc)
	}
	if err != nil {
		return File{}, nil, Error{err, 0}
	}
	file, err = doc.parse()
	return file, running, err
}

// parseRunning returns the file of the running program; nil if this program does not understand it.
func parseRunning(before []byte) (*File, error) {
	var doc document
	if err := json.Unmarshal(before, &doc); err != nil {
		return nil, fmt.Errorf("configuration file of the running server: %w", err)
	}
	f, err := doc.parse()
	if err != nil {
		return nil, nil
	}
	return &f, nil
}

// document is the text of a configuration file. Without a name there is no file.
type document struct {
	Name string `json:"name,omitempty"`
	Text string `json:"text,omitempty"`
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

// parse returns the entries of the file, and the errors of all those that are wrong.
func (d document) parse() (File, error) {
	file := File{Name: d.Name}
	var root, second yaml.Node
	decoder := yaml.NewDecoder(strings.NewReader(d.Text))
	err := decoder.Decode(&root)
	if err == nil {
		if err = decoder.Decode(&second); err == nil {
			return file, NewError(second.Line, "%s:%d: a second document begins: want one", d.Name, second.Line)
		}
	}
	if err != io.EOF {
		return file, Error{d.syntaxError(err), 0}
	}
	if len(root.Content) == 0 || isNull(root.Content[0]) {
		return file, nil
	}
	top := root.Content[0]
	if top.Kind != yaml.MappingNode {
		return file, NewError(top.Line, "%s:%d: want lines like \"addr: :8080\"", d.Name, top.Line)
	}
	var faults []error
	lines := make(map[string]int)
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, node := top.Content[i], top.Content[i+1]
		texts, isList, ok := scalars(node)
		wrong := func(format string, args ...any) {
			where := fmt.Sprintf("%s:%d: %s: ", d.Name, key.Line, key.Value)
			faults = append(faults, NewError(key.Line, where+format, args...))
		}
		switch first := lines[key.Value]; {
		case first != 0:
			wrong("is in line %d already", first)
		case !ok:
			wrong("want a value, or a list of values")
		default:
			file.Entries = append(file.Entries, Entry{key.Value, key.Line, texts, isList})
		}
		lines[key.Value] = key.Line
	}
	return file, errors.Join(faults...)
}

// syntaxError returns an error of the YAML parser with the name of the file and the line in front.
func (d document) syntaxError(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	var line int
	if n, _ := fmt.Sscanf(text, "line %d:", &line); n == 1 {
		_, text, _ = strings.Cut(text, ": ")
		return fmt.Errorf("%s:%d: not valid YAML: %s", d.Name, line, text)
	}
	return fmt.Errorf("%s: not valid YAML: %s", d.Name, text)
}

// scalars returns a value, or the values of a list.
func scalars(node *yaml.Node) (texts []string, isList, ok bool) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	switch {
	case isNull(node):
		return []string{""}, false, true
	case node.Kind == yaml.ScalarNode:
		return []string{node.Value}, false, true
	case node.Kind != yaml.SequenceNode:
		return nil, false, false
	}
	for _, item := range node.Content {
		if item.Kind != yaml.ScalarNode {
			return nil, false, false
		}
		texts = append(texts, item.Value)
	}
	return texts, true, true
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }
