package scaffold

import (
	"cmp"
	"embed"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/expedite-go/expedite/deploy"
	"github.com/expedite-go/expedite/examples"
)

// own are files that only projects have.
//
//go:embed all:files
var own embed.FS

// template is a kind of project: one of examples.
type template struct {
	Name, About string
	Path        string // of a WebSocket, for load scripts
	Message     string // that a client may send, in YAML and in JavaScript
	Env         string // of make run
}

// templates returns the kinds, the default one first.
func templates() []template {
	return []template{
		{"chat", "A chat with rooms.", `/chat/load?name={{ $uuid }}`, `{ text: "hello" }`, ""},
		{
			"notifications", "Notifications to all devices of a user. Programs that send them need the key in `NOTIFY_KEY`,\n" +
				"which `make run` sets to `development`.", `/inbox?user={{ $uuid }}`,
			`{ type: "read", id: "none" }`, "NOTIFY_KEY=development",
		},
		{"game", "A game for many players.", `/game/load?name={{ $uuid }}`, `{ x: 1, y: 0 }`, ""},
		{"blank", "A WebSocket server to start from.", "/ws", `{ text: "hello" }`, ""},
	}
}

// Templates returns the names of the kinds of projects, the default one first.
func Templates() (names []string) {
	for _, t := range templates() {
		names = append(names, t.Name)
	}
	return names
}

// files returns the text of all files.
func (p *Project) files(o Options) (map[string]string, error) {
	var t template
	for _, other := range templates() {
		if other.Name == o.Template {
			t = other
		}
	}
	if t.Name == "" {
		return nil, fmt.Errorf("there is no template %q: take %s", o.Template, strings.Join(Templates(), ", "))
	}
	path := cmp.Or(o.Module, "example.com/"+p.Name)
	files := map[string]string{"go.mod": o.Origin.goMod(path)}
	for _, name := range []string{"main.go", "main_test.go", "page.html"} {
		text, err := fileOf(examples.Files, t.Name+"/"+name)
		if err != nil {
			return nil, err
		}
		files[name] = strings.Replace(text, "// Command "+t.Name+" ", "// Command "+p.Name+" ", 1)
	}
	err := eachFile(deploy.Files, func(name, text string) { files["deploy/"+rename(name, p.Name)] = rename(text, p.Name) })
	if err != nil {
		return nil, err
	}
	lobby, err := fileOf(examples.Files, "load/artillery-lobby.yml")
	if err != nil {
		return nil, err
	}
	if files["load/artillery.yml"], err = loadScript(lobby, t); err != nil {
		return nil, err
	}
	text := strings.NewReplacer(
		"@NAME@", p.Name, "@ABOUT@", t.About, "@MESSAGE@", t.Message,
		"@PATH@", strings.ReplaceAll(t.Path, "{{ $uuid }}", "${__VU}"), "@ENV@ ", strings.TrimLeft(t.Env+" ", " "),
		"@VERSION@", o.Origin.note(),
	)
	sub, err := fs.Sub(own, "files")
	if err != nil {
		return nil, err
	}
	return files, eachFile(sub, func(name, s string) {
		files[strings.TrimSuffix(name, ".txt")] = text.Replace(s)
	})
}

// loadScript returns the script of the lobby for another program. What it replaces has to be there.
func loadScript(lobby string, t template) (string, error) {
	path, query, _ := strings.Cut(t.Path, "?")
	if query != "" {
		query = "?" + query
	}
	for _, r := range [][2]string{
		{"# Users that meet in the lobby, where everyone hears everyone: n users that speak make n × n messages.\n",
			"# Users that come, speak, and listen: make load, or artillery run load/artillery.yml\n"},
		{`target: "ws://127.0.0.1:8080/"`, `target: "ws://127.0.0.1:8080` + path + `"`},
		{`connect: "{{ target }}"`, `connect: "{{ target }}` + query + `"`},
		{`{ from: "{{ $uuid }}", n: "{{ $loopCount }}" }`, t.Message},
		{"the lobby greets, and others speak.", "the server may greet, and others speak."},
	} {
		if !strings.Contains(lobby, r[0]) {
			return "", fmt.Errorf("scaffold: the load script of the lobby does not contain %q", r[0])
		}
		lobby = strings.ReplaceAll(lobby, r[0], r[1])
	}
	return lobby, nil
}

// named matches what contains the name of this program: what stays, and what becomes that of the project.
var named = regexp.MustCompile(`https?://[^\s)]*|github\.com/[^\s)]*|\bexpedite\.(?:yaml|js)\b|\./cmd/expedite\b|` +
	`\bgo tool expedite\b|\bdocs/[\w/-]+\.md|\bexpedite\b|\bExpedite\b`)

// rename returns a text of deploy for a program of another name.
func rename(text, name string) string {
	return named.ReplaceAllStringFunc(text, func(found string) string {
		switch {
		case found == "./cmd/expedite":
			return "."
		case found == "expedite":
			return name
		case strings.HasPrefix(found, "docs/"):
			return "https://" + modulePath + "/blob/main/" + found
		}
		return found
	})
}
