package settings

import (
	"log/slog"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/internal/verifier"
)

// Program is what the settings configure.
type Program struct {
	// Config is that of the App, without what the settings only name: the verifier and the logger. Control and StateDir
	// may be off, or empty for the default.
	Config expedite.Config
	// Verifier names the keys of tokens.
	Verifier verifier.Config
	// LogFormat is auto, text or json.
	LogFormat string
	LogLevel  slog.Level
}
