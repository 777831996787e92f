package command

import (
	"reflect"
	"regexp"
	"strings"

	"github.com/alecthomas/kong"
)

// product is the name of the commands in texts of this project.
const product = "expedite"

// named returns a text in which the commands of expedite that the program has, too, are those of the program.
func (p *Program) named(text string) string {
	if p.Name == product {
		return text
	}
	names := strings.Join(commandNames(), "|")
	return regexp.MustCompile(`\b`+product+` (`+names+`)\b`).ReplaceAllString(text, p.Name+" $1")
}

// commandNames returns the names of the commands that every program has.
func commandNames() (names []string) {
	t := reflect.TypeFor[cli]()
	for i := range t.NumField() {
		if _, ok := t.Field(i).Tag.Lookup("cmd"); ok {
			names = append(names, strings.ToLower(t.Field(i).Name))
		}
	}
	return names
}

// nameHelp is named for the help of a command and of what is below it. The help of serve begins with Endpoints.
func (p *Program) nameHelp(n *kong.Node) {
	n.Help, n.Detail = p.named(n.Help), p.named(n.Detail)
	if p.Endpoints != "" && n.Target.IsValid() && n.Target.Type() == reflect.TypeFor[serveCmd]() {
		n.Detail = p.Endpoints + "\n\n" + n.Detail
	}
	for _, child := range n.Children {
		p.nameHelp(child)
	}
}
