package primary

import (
	"context"

	"github.com/expedite-go/expedite/internal/control"
)

// Reload replaces the workers and then the primary by the program on disk. Connections move. In a process that serves
// alone, Reload and the other operations return control.ErrUnsupported.
func (s *ControlServer) Reload(
	ctx context.Context, req control.ReloadRequest, rep control.Reporter,
) (control.Result, error) {
	if s.roller == nil {
		s.manager.Refused(control.ErrUnsupported)
		return control.Result{}, control.ErrUnsupported
	}
	return s.roller.reload(ctx, req, rep)
}

// ReloadOrQueue reloads for the program itself. If another operation is under way, it returns nil at once, and the
// reload follows.
func (s *ControlServer) ReloadOrQueue(ctx context.Context) error {
	if s.roller == nil {
		s.manager.Refused(control.ErrUnsupported)
		return control.ErrUnsupported
	}
	return s.roller.reloadOrQueue(ctx)
}

// Scale changes the number of workers. Connections move.
func (s *ControlServer) Scale(
	ctx context.Context, req control.ScaleRequest, rep control.Reporter,
) (control.Result, error) {
	if s.roller == nil {
		return control.Result{}, control.ErrUnsupported
	}
	return s.roller.scale(ctx, req.Workers, rep)
}

// Rebalance distributes the connections evenly over the workers.
func (s *ControlServer) Rebalance(ctx context.Context, rep control.Reporter) (control.Result, error) {
	if s.roller == nil {
		return control.Result{}, control.ErrUnsupported
	}
	return s.roller.rebalance(ctx, rep)
}
