// Package command makes a program of your handlers that is started, configured and operated like expedite itself.
package command

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/internal/command"
)

// Main runs the command that the arguments of the process name. The program has the commands of expedite, but bench and
// new: serve with its flags, EXPEDITE_* in the environment and expedite.yaml, and those that operate a running server,
// such as status, reload and stop.
//
//	func main() { command.Main(setup) }
//
//	func setup(cfg expedite.Config) (*expedite.App, error) {
//		app := expedite.New(cfg)
//		app.Handle("/echo", expedite.Handler{
//			Message: func(c *expedite.Conn, m expedite.Message) { c.Send(m) },
//		})
//		return app, nil
//	}
//
// The Config given to setup is what the settings say; setup may change it. serve calls setup once in each of its
// processes, which are the primary and the workers, and in the trial before a reload, which an error of setup refuses.
// config check calls it, too; other commands do not.
//
// Main returns when the command has succeeded. Otherwise it prints the error and exits with status 1, or 2 if the
// command line or a setting is wrong.
func Main(setup func(cfg expedite.Config) (*expedite.App, error)) {
	name := strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe")
	p := command.Program{Name: name, About: name + " serves WebSockets.", Setup: setup}
	if code := p.Main(); code != 0 {
		os.Exit(code)
	}
}
