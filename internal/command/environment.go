package command

import (
	"os"
	"strings"

	"github.com/expedite-go/expedite/internal/settings"
)

// unsetEmpty unsets the empty variables that set flags: an empty variable counts as not set, and would hide the value
// of the file from the parser.
func unsetEmpty() error {
	for _, kv := range os.Environ() {
		name, value, _ := strings.Cut(kv, "=")
		if value != "" || !strings.HasPrefix(name, settings.Prefix) && name != "PORT" && name != "REDIS_URL" {
			continue
		}
		if err := os.Unsetenv(name); err != nil {
			return err
		}
	}
	return nil
}
