package artillery

import (
	"bytes"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/expedite-go/expedite/internal/loadtest"
	"github.com/expedite-go/expedite/internal/spelling"
)

// Script is a script with one of its environments applied. Use [Load] to create one.
type Script struct {
	file        string
	environment string
	root        *node
	warnings    []string
}

// Load reads a script of artillery in YAML or JSON, or a program (.js, .cjs, .mjs) that exports one. If environment is
// not empty, the settings of that environment in the script override others. Errors are of type *Error.
func Load(path, environment string) (*Script, error) {
	b, err := readFile(path, maxScript)
	if err != nil {
		return nil, &Error{File: path, Reason: err.Error()}
	}
	return parse(path, b, environment)
}

// parse parses the script b.
func parse(path string, b []byte, environment string) (*Script, error) {
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	var root *node
	var err error
	switch strings.ToLower(filepath.Ext(path)) {
	case ".js", ".cjs", ".mjs":
		root, err = readProgram(path, b, defaultBounds())
	case ".ts":
		return nil, &Error{File: path, Reason: "TypeScript is not supported: want YAML, JSON or JavaScript"}
	case ".json":
		root, err = readJSON(path, b)
	default:
		root, err = readYAML(path, b)
	}
	if err != nil {
		return nil, err
	}
	for _, key := range []string{"before", "after"} {
		if n := root.get(key); n != nil {
			return nil, n.fault("steps before and after all users are not supported")
		}
	}
	if err := root.known("config", "scenarios"); err != nil {
		return nil, err
	}
	s := &Script{file: path, environment: environment, root: root}
	return s, s.choose()
}

// choose applies the environment to config.
func (s *Script) choose() error {
	if s.environment == "" {
		return nil
	}
	known := s.Environments()
	if !slices.Contains(known, s.environment) {
		reason := "the script has no environments: leave --environment out"
		if len(known) > 0 {
			reason = "the script has no environment " + s.environment + spelling.Suggest(s.environment, known)
		}
		return &Error{File: s.file, Reason: reason}
	}
	config := s.root.get("config")
	over := config.get("environments").get(s.environment)
	if err := over.is(object); err != nil {
		return err
	}
	s.root.set(field{"config", config.line, merge(config, over)})
	return nil
}

// Environments returns the environments of the script that Load accepts.
func (s *Script) Environments() []string { return s.root.get("config").get("environments").keys() }

// Warnings returns hints for the author of the script, one line each: places where artillery, and this package too, may
// do something unexpected. They are available after Plan.
func (s *Script) Warnings() []string { return s.warnings }

// Plan compiles the script to a plan of the load generator. It reads the files that the script names. Errors are of
// type *Error.
func (s *Script) Plan() (*loadtest.Plan, error) {
	s.warnings = nil
	c := &compiler{
		script: s, file: s.file,
		plan: new(loadtest.Plan),
		config: &names{consts: map[string]any{
			"$testId": "t" + randomString(16), "$scenarioFile": s.file, "$dirname": filepath.Dir(s.file),
			"$environment": s.environment,
		}},
		users: make(map[string]bool), used: make(map[string]bool),
	}
	if err := c.compile(s.root); err != nil {
		return nil, err
	}
	return c.plan, nil
}

// compiler compiles a script to a plan.
type compiler struct {
	script *Script
	file   string
	plan   *loadtest.Plan
	config *names // for values that have to be known at compile time
	// users are the variables that all users have. used are those that any scenario or setting refers to.
	users, used map[string]bool
	sources     []source
	inline      *inline
	ws          connection
	engine      string // default engine of scenarios
	jitter      *node  // default jitter of thinks
	loops       int
}

// warn adds a warning about a node.
func (c *compiler) warn(n *node, format string, args ...any) {
	c.script.warnings = append(c.script.warnings, n.fault(format, args...).Error())
}

func (c *compiler) compile(root *node) error {
	config := root.get("config")
	if config == nil {
		return &Error{File: c.file, Line: root.line, Reason: "want config: with target and phases"}
	}
	if err := c.settings(config); err != nil {
		return err
	}
	if root.get("scenarios") == nil {
		return &Error{File: c.file, Line: root.line, Reason: "want scenarios: what the users do"}
	}
	if err := c.scenarios(root.get("scenarios")); err != nil {
		return err
	}
	// Compiled after the scenarios: the error for a function in a scenario is more helpful than the one for its missing
	// metric.
	if err := c.plugins(config); err != nil {
		return err
	}
	c.processor(config.get("processor"))
	c.plan.Init = c.beginner()
	return nil
}

// beginner returns the function that sets a user's initial variables. It sets only those that are used, because there
// may be many users.
func (c *compiler) beginner() func(int, *loadtest.Vars) error {
	sources, used := c.sources, maps.Clone(c.used)
	sources = slices.DeleteFunc(sources, func(s source) bool {
		return !slices.ContainsFunc(s.names(), func(name string) bool { return used[name] })
	})
	if len(sources) == 0 {
		return nil
	}
	return func(user int, v *loadtest.Vars) error {
		for _, s := range sources {
			s.begin(user, used, v)
		}
		return nil
	}
}

// processor warns that config.processor is not loaded. No step calls its functions: such scripts have been refused.
func (c *compiler) processor(n *node) {
	if n != nil {
		c.warn(n, "no function of the processor is used: it is not loaded")
	}
}
