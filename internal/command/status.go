package command

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/view"
)

// statusTimeout is longer than a server takes for its status.
const statusTimeout = 10 * time.Second

// statusCmd implements `expedite status`.
type statusCmd struct {
	Control string `help:"Unix socket of the server. Default: ${control}." placeholder:"PATH"`
	All     bool   `help:"All machines of the service, with one line for each."`
	JSON    bool   `help:"Print JSON." name:"json"`
}

// Help returns the text of `expedite status --help`.
func (statusCmd) Help() string {
	return `Examples:
  expedite status
  expedite status --all
  expedite status --all --json | jq '.nodes[] | {host, connections, missing}'
  expedite status --json | jq '.workers[] | {slot, pid, connections}'`
}

var errAll = errors.New("the server is of an earlier release, which does not know of other machines")

// Run prints the status.
func (s *statusCmd) Run(stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	client, err := control.Dial(ctx, controlPath(s.Control))
	if err != nil {
		return err
	}
	defer client.Close()
	ask, show := client.Status, view.Status
	if s.All {
		ask, show = client.StatusOfAll, view.Nodes
	}
	st, err := ask(ctx)
	if err != nil {
		return err
	}
	if s.All && len(st.Nodes) == 0 {
		return errAll
	}
	if s.JSON {
		return PrintJSON(stdout, st)
	}
	return show(stdout, st)
}
