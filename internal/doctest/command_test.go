package doctest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// program builds the expedite of this checkout, once, and returns its path.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "doctest")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "expedite")
	out, err := exec.Command("go", "build", "-o", path, root+"/cmd/expedite").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return path, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := program(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// expedite runs the program in an empty folder, and returns its output and whether it succeeded.
func expedite(t *testing.T, args ...string) (output string, ok bool) {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "EXPEDITE_") })
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

// comment matches a comment of the shell.
var comment = regexp.MustCompile(`(^|\s)#.*`)

// commands returns the commands of a script as words. It knows what pages use of the shell: comments, quotes, pipes,
// lists, assignments before a command, and lines that continue.
func commands(script string) (list [][]string) {
	script = strings.ReplaceAll(script, "\\\n", " ")
	for line := range strings.SplitSeq(script, "\n") {
		var words []string
		end := func() {
			if len(words) > 0 {
				list = append(list, words)
			}
			words = nil
		}
		for _, word := range shellWords(comment.ReplaceAllString(line, "")) {
			switch {
			case word == "|" || word == "||" || word == "&&" || word == ";" || word == "&":
				end()
			case len(words) == 0 && (assignment.MatchString(word) || slices.Contains(before, word)):
			default:
				words = append(words, word)
			}
		}
		end()
	}
	return list
}

var (
	assignment = regexp.MustCompile(`^[A-Za-z_]+=`)
	before     = []string{"sudo", "exec", "time", "$"} // words before a command that change nothing about it
	quoted     = regexp.MustCompile(`'[^']*'|"[^"]*"`)
)

// shellWords splits a line into words. Text in quotes is part of a word, without the quotes.
func shellWords(line string) []string {
	const blank = "\x00"
	line = quoted.ReplaceAllStringFunc(line, func(s string) string {
		return strings.ReplaceAll(s[1:len(s)-1], " ", blank)
	})
	line = strings.ReplaceAll(line, ";", " ; ")
	words := strings.Fields(line)
	for i := range words {
		words[i] = strings.ReplaceAll(words[i], blank, " ")
	}
	return words
}

// projectProgram matches the program of a project that pages speak of. It has the commands of expedite.
var projectProgram = regexp.MustCompile(`^\./(hello|chat)$`)

// redirection matches what the shell takes for itself.
var redirection = regexp.MustCompile(`^[0-9&]*[<>]`)

// ownArguments returns the arguments of a command that runs expedite, without redirections.
func ownArguments(words []string) (args []string, own bool) {
	switch {
	case filepath.Base(words[0]) == "expedite", projectProgram.MatchString(words[0]):
		args = words[1:]
	case len(words) > 2 && words[0] == "go" && words[1] == "run" && strings.HasSuffix(words[2], "/cmd/expedite"):
		args = words[3:]
	default:
		return nil, false
	}
	for i, a := range args {
		if redirection.MatchString(a) {
			return args[:i], true
		}
	}
	return args, true
}

// commandFault returns what is wrong with a command: expedite does not understand its arguments, or make has no such
// target. It does not run the command. Other programs are not checked.
func commandFault(t *testing.T, words []string) string {
	t.Helper()
	if words[0] == "make" {
		return targetFault(t, words[1:])
	}
	args, own := ownArguments(words)
	if !own {
		return ""
	}
	if len(args) > 0 && args[0] == "--version" {
		return ""
	}
	if out, ok := expedite(t, append(slices.Clone(args), "--help")...); !ok { // parses everything before it helps
		return strings.TrimSpace(out)
	}
	return ""
}

func targetFault(t *testing.T, args []string) string {
	t.Helper()
	var text []byte
	for _, path := range []string{"/Makefile", "/internal/scaffold/files/Makefile"} { // the latter is that of projects
		b, err := os.ReadFile(root + path)
		if err != nil {
			t.Fatal(err)
		}
		text = append(append(text, b...), '\n')
	}
	for _, a := range args {
		name, value, isVariable := strings.Cut(a, "=")
		pattern := `(?m)^` + regexp.QuoteMeta(name) + `:( |$)`
		if isVariable {
			pattern = `\$\(` + regexp.QuoteMeta(name) + `\)|\$\(if \$\(filter [^,]*\$\(` + regexp.QuoteMeta(name) + `\)`
		}
		if !regexp.MustCompile(pattern).Match(text) {
			return fmt.Sprintf("Makefile does not know %s%s", name, map[bool]string{true: "=" + value}[isVariable])
		}
	}
	return ""
}

// optional removes the brackets around arguments that may be left out.
var optional = strings.NewReplacer("[", "", "]", "")

// TestCommands checks the commands in scripts and in lines, and runs scripts that say so.
func TestCommands(t *testing.T) {
	checked, faults := 0, make(map[string]string) // many pages have the same commands
	faultOf := func(words []string) string {
		checked++
		key := strings.Join(words, "\x00")
		if _, known := faults[key]; !known {
			faults[key] = commandFault(t, words)
		}
		return faults[key]
	}
	for _, p := range pages(t) {
		for _, b := range p.blocks("sh", "bash", "console") {
			if b.note == "excerpt" {
				continue
			}
			for _, words := range commands(b.text) {
				if fault := faultOf(words); fault != "" {
					t.Errorf("%s: %s: %s", b.place(), strings.Join(words, " "), fault)
				}
			}
			if b.note == "run" {
				runScript(t, b)
			}
		}
		for _, s := range p.spans() {
			first, _, more := strings.Cut(s.text, " ")
			if !more || first != "expedite" && first != "make" && !projectProgram.MatchString(first) {
				continue
			}
			for _, words := range commands(optional.Replace(s.text)) {
				if fault := faultOf(words); fault != "" {
					t.Errorf("%s:%d: %s: %s", p.path, s.line, s.text, fault)
				}
			}
		}
	}
	if checked < 50 {
		t.Errorf("only %d commands found", checked)
	}
}

// projectCommand matches the words of a command of a project, up to the first that is none.
var projectCommand = regexp.MustCompile(`\./@NAME@((?: [a-z]+)+)`)

// TestProjectCommands checks the commands in the README, the Makefile and the settings of projects.
func TestProjectCommands(t *testing.T) {
	for _, name := range []string{"Makefile", "README.md", "expedite.yaml"} {
		text, err := os.ReadFile(root + "/internal/scaffold/files/" + name)
		if err != nil {
			t.Fatal(err)
		}
		found := projectCommand.FindAllStringSubmatch(string(text), -1)
		for _, m := range found {
			if fault := commandFault(t, append([]string{"expedite"}, strings.Fields(m[1])...)); fault != "" {
				t.Errorf("%s: %s: %s", name, m[0], fault)
			}
		}
		if len(found) == 0 {
			t.Errorf("%s: no commands found", name)
		}
	}
}

// runScript runs a script in an empty folder, with this checkout's expedite.
func runScript(t *testing.T, b *block) {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", b.text)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(path)+string(os.PathListSeparator)+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", b.place(), err, out)
	}
}

// TestCommandRules checks that commands are found, and their faults.
func TestCommandRules(t *testing.T) {
	for script, want := range map[string]string{
		"a b # c\nd":                      "[[a b] [d]]",
		"a 'b c' \"d e\" | f && X=1 g; h": "[[a b c d e] [f] [g] [h]]",
		"sudo a \\\n  b":                  "[[a b]]",
		"# nothing":                       "[]",
		"a http://x/#y":                   "[[a http://x/#y]]",
	} {
		if got := fmt.Sprint(commands(script)); got != want {
			t.Errorf("%q: got %s, want %s", script, got, want)
		}
	}
	for command, want := range map[string]string{
		"expedite serve --addr :80 --workers 2":  "",
		"/usr/local/bin/expedite status --json":  "",
		"go run ./cmd/expedite scale 3":          "",
		"expedite token inspect < token":         "",
		"expedite serve --adr :80":               "unknown flag --adr",
		"go run ./cmd/expedite scale 3 4":        "unexpected argument 4",
		"expedite start":                         "unexpected argument start",
		"make test":                              "",
		"make million N=1000":                    "",
		"make tests":                             "Makefile does not know tests",
		"make test COUNT=1":                      "Makefile does not know COUNT=1",
		"docker compose up --no-such-expedition": "",
	} {
		got := commandFault(t, commands(command)[0])
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", command, got, want)
		}
	}
}
