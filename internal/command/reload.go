package command

import (
	"context"
	"fmt"
	"time"

	"github.com/expedite-go/expedite/internal/control"
)

// maxCanary is the longest canary time that a server accepts.
const maxCanary = time.Hour

// reloadCmd implements `expedite reload`.
type reloadCmd struct {
	Canary      time.Duration `help:"Time that the first new worker has to serve before the others follow." default:"1s"`
	KeepPrimary bool          `help:"Keep the primary and its settings."`
	operationFlags
}

// Help returns the text of `expedite reload --help`.
func (reloadCmd) Help() string {
	return `Replaces each worker by one of the binary that is on disk now; its connections move. Then replaces the primary.
The exit code is 0 only if all connections moved.

Examples:
  expedite reload --watch
  expedite reload --canary 30s
  expedite reload --json | jq .moved`
}

// Run reloads the server and waits for the end.
func (r *reloadCmd) Run(c *Console) error {
	if r.Canary < 0 || r.Canary > maxCanary {
		return usageError{fmt.Errorf("--canary %v: want 0s to %v", r.Canary, maxCanary)}
	}
	req := control.ReloadRequest{CanarySeconds: r.Canary.Seconds(), KeepPrimary: r.KeepPrimary}
	return r.run(c, "reloaded", func(ctx context.Context, to *control.Client, on progressFunc) (result, error) {
		return to.Reload(ctx, req, on)
	})
}
