package settings

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/expedite-go/expedite/internal/spelling"
)

// injected matches the variables that Kubernetes adds to each container for a Service whose name begins with expedite.
var injected = regexp.MustCompile(`^EXPEDITE(_[A-Z0-9_]+)??` +
	`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// unknownVariables returns a warning for each variable with the prefix that nothing reads.
func unknownVariables(environ []string, t table, others []string) (warnings []string) {
	known := slices.Clone(others)
	for _, s := range t.settings() {
		known = append(known, s.AllVariables()...)
	}
	known = slices.DeleteFunc(known, func(name string) bool { return !strings.HasPrefix(name, Prefix) })
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if value == "" || !strings.HasPrefix(name, Prefix) || slices.Contains(known, name) || isInjected(name, value) {
			continue
		}
		end := ""
		if s := spelling.Suggest(name, known); strings.Contains(s, "did you mean") {
			end = s
		}
		warnings = append(warnings, fmt.Sprintf("unknown variable %s%s", name, end))
	}
	slices.Sort(warnings)
	return warnings
}

// hiddenVariables returns a warning for each further variable of a setting that says something else than the one that
// counts. Values are not shown: there may be passwords in them.
func hiddenVariables(environ []string, t table) (warnings []string) {
	for _, s := range t.settings() {
		used, value := "", ""
		for _, name := range s.AllVariables() {
			text := strings.TrimPrefix(lookup(environ, name), ":") // PORT=80 is EXPEDITE_ADDR=:80
			switch {
			case text == "" || text == value:
			case used == "":
				used, value = name, text
			default:
				warnings = append(warnings, fmt.Sprintf("%s is ignored: %s is set, too, and says something else: unset one of them",
					name, used))
			}
		}
	}
	return warnings
}

// isInjected reports whether Kubernetes has set a variable. NAME_PORT is a URL there, and a number if a person set it.
func isInjected(name, value string) bool {
	m := injected.FindStringSubmatch(name)
	return m != nil && (m[2] != "PORT" || strings.Contains(value, "://"))
}
