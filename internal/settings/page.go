package settings

import (
	_ "embed"
	"fmt"
	"io"
	"strings"
)

//go:embed page.md
var page string

// WritePage writes the reference page.
func WritePage(w io.Writer) error {
	var b strings.Builder
	live := []string{}
	for _, g := range newTable(new(Program)) {
		fmt.Fprintf(&b, "## %s\n\n| Setting | Type | Default | |\n|---|---|---|---|\n", g.Title)
		for i := range g.Settings {
			s := &g.Settings[i]
			name := "`" + s.Name + "`"
			if s.Live {
				live = append(live, name)
				name += " ↻"
			}
			for _, v := range s.Variables {
				name += "<br>`" + v + "`"
			}
			if s.IsSecret() {
				name = "`" + s.Variable() + "`"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, s.typeName(), s.defaultText(), escape(s.Help))
		}
		b.WriteByte('\n')
	}
	fill := strings.NewReplacer("{{live}}", strings.Join(live, ", "), "{{settings}}", strings.TrimSpace(b.String()))
	_, err := fill.WriteString(w, page)
	return err
}

func (s *Setting) typeName() string {
	switch {
	case s.FileOf != "":
		return "file"
	case s.to.enum != nil:
		return "`" + strings.Join(s.to.enum, "`, `") + "`"
	default:
		return s.to.kind
	}
}

func (s *Setting) defaultText() string {
	if s.Default != "" {
		return "`" + s.Default + "`"
	}
	return escape(s.Auto)
}

// escape returns a text for a cell of a table.
func escape(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
