package expedite

import (
	"context"
	"fmt"
	"time"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/internal/telemetry"
	"github.com/expedite-go/expedite/session"
)

// Kick closes connections.
func (d *desk) Kick(ctx context.Context, req control.KickRequest) (control.KickResult, error) {
	who, err := whoOf(req.User, req.Session, "")
	if err == nil && req.Conn != "" {
		who.Conn, err = ParseID(req.Conn)
	}
	if err != nil {
		return control.KickResult{}, wrongName(err)
	}
	done, err := d.app.kick(ctx, who, req.Reason)
	return control.KickResult{Closed: done.Closed, Warning: done.Warning}, err
}

// Revoke closes connections and keeps their clients out.
func (d *desk) Revoke(ctx context.Context, req control.RevokeRequest) (control.RevokeResult, error) {
	who, err := whoOf(req.User, req.Session, req.TokenID)
	if err != nil {
		return control.RevokeResult{}, wrongName(err)
	}
	span := time.Duration(req.Seconds) * time.Second
	if span == 0 {
		span = DefaultRevocation
	}
	done, until, err := d.app.revoke(ctx, who, span)
	return control.RevokeResult{Closed: done.Closed, Until: until, Stored: done.Stored, Warning: done.Warning}, err
}

// whoOf names whom an operator means.
func whoOf(user, id, token string) (who Who, err error) {
	who.User, who.TokenID = user, token
	if id != "" {
		if who.Session, err = session.ParseID(id); err != nil {
			err = fmt.Errorf("%w: log lines show a short hash, expedite sessions shows the id", err)
		}
	}
	return who, err
}

// wrongName is what the operator hears of a name that cannot be one.
func wrongName(err error) error {
	return &control.Error{Code: control.CodeBadRequest, Message: err.Error()}
}

// Publish sends a text to all subscribers of a topic.
func (d *desk) Publish(_ context.Context, req control.PublishRequest) error {
	return d.app.Publish(req.Topic, Text(req.Text))
}

// ReopenLogs makes all processes go on in new log files.
func (d *desk) ReopenLogs(ctx context.Context) error { return d.app.ReopenLogs(ctx) }

// Logs gives the lines of all processes that are wanted. A session may be named by its id or as log lines do.
func (d *desk) Logs(ctx context.Context, req control.LogsRequest, write func([]byte) error) error {
	if id, err := session.ParseID(req.Session); err == nil {
		req.Session = id.Short()
	}
	return d.registry.Logs(ctx, registry.LogQuery{
		Live: req.Follow, Recent: req.Recent,
		Filter: telemetry.Filter{
			User: req.User, Session: req.Session, Conn: req.Conn, Worker: req.Worker, Level: req.Level,
		},
	}, write)
}
