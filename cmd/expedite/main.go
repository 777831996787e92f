// Command expedite serves WebSockets from a cluster of worker processes, and controls a running server.
//
//	expedite serve        start it
//	expedite config check what is wrong with its settings
//	expedite status       what it does
//	expedite logs         the log lines of all workers
//	expedite sessions     who is connected
//	expedite kick         close connections
//	expedite revoke       close connections, and keep their clients out
//	expedite publish      say something to a topic
//	expedite token        make and read access tokens
//	expedite reload       replace it by a new binary, the connections move over
//	expedite scale N      change the number of workers
//	expedite rebalance    even out the connections of the workers
//	expedite drain        close its connections over some time, and keep it up
//	expedite stop         end it gracefully
//	expedite healthcheck  exit with 0 if it takes new clients
//	expedite new DIR      create a project of your own
//	expedite bench        open many clients to a server, and measure
//	expedite doctor       what this machine can hold, and what limits it
//	expedite version      which build this is
package main

import (
	"io"
	"os"

	cli "github.com/expedite-go/expedite/internal/command"
	"github.com/expedite-go/expedite/internal/lobby"
)

func main() { os.Exit(program().Main()) }

// run runs a command and returns the exit code.
func run(args []string, stdout, stderr io.Writer) int { return program().Run(args, stdout, stderr) }

// program returns the program: the commands that every program has, with the lobby as its application, and those that
// are too heavy for every program.
func program() *cli.Program {
	return &cli.Program{
		Name:      "expedite",
		About:     "A WebSocket server made for scale.",
		Setup:     lobby.New,
		Endpoints: endpoints,
		Places: func(host string) []cli.Place {
			return []cli.Place{
				{Name: "lobby", Text: "ws://" + host + "/      a page to try it: http://" + host + "/"},
				{Name: "echo", Text: "ws://" + host + "/echo"},
			}
		},
		More: []any{new(benchGroup), new(newGroup)},
	}
}

const endpoints = `Endpoints:
  /         the lobby: a JSON greeting, then every client receives what any of them sends; browsers get a page to try it
  /echo     returns each message to its sender
  /healthz  200 while the process is alive
  /readyz   200 while it accepts new clients
  /ticket   POST with an Authorization header returns a one-time ticket for ?ticket=`
