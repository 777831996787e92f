package settings

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/expedite-go/expedite/internal/configfile"
)

// WriteText writes all settings in the form of the configuration file, with the place of each value in a comment.
// Secrets are masked. A setting that has no value, or that is not allowed in the file, is a comment.
func (l *Loaded) WriteText(w io.Writer) error {
	for i, g := range l.table {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "# %s\n", g.Title)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for j := range g.Settings {
			s := &g.Settings[j]
			if text, from := l.line(s); text != "" {
				fmt.Fprintf(t, "%s\t# %s\n", text, from)
			}
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// line returns the line of a setting, and where its value comes from.
func (l *Loaded) line(s *Setting) (text, from string) {
	g, ok := l.given[s.Name]
	switch {
	case s.IsSecret() && !ok:
		return "", ""
	case s.IsSecret():
		return fmt.Sprintf("# %s: %s", s.Name, mask), g.place.String()
	case s.to.list && len(g.texts) > 0:
		texts := slices.Clone(g.texts)
		for i := range texts {
			if s.to.secrecy == password {
				texts[i] = maskPassword(texts[i])
			}
		}
		return fmt.Sprintf("%s: %s", s.Name, configfile.List(texts)), g.place.String()
	case len(g.texts) > 0 && g.texts[0] != "":
		value := g.texts[0]
		if s.to.secrecy == password {
			value = maskPassword(value)
		}
		return fmt.Sprintf("%s: %s", s.Name, configfile.Scalar(value)), g.place.String()
	case s.Default != "":
		return fmt.Sprintf("%s: %s", s.Name, configfile.Scalar(s.Default)), "default"
	default:
		return fmt.Sprintf("# %s:", s.Name), "default: " + s.Auto
	}
}
