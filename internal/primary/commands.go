package primary

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/internal/telemetry"
	"github.com/expedite-go/expedite/session"
)

// Kick closes connections.
func (s *ControlServer) Kick(ctx context.Context, req control.KickRequest) (control.KickResult, error) {
	t, err := target(req.User, req.Session, "")
	if err == nil && req.Conn != "" {
		t.Conn, err = connid.Parse(req.Conn)
	}
	if err != nil {
		return control.KickResult{}, badRequest(err)
	}
	cmd, err := registry.Kick(t, req.Reason)
	if err != nil {
		return control.KickResult{}, err
	}
	done, err := s.registry.Command(ctx, cmd)
	return control.KickResult{Closed: done.Closed, Warning: done.Warning}, err
}

// Revoke closes connections and refuses their clients for some time.
func (s *ControlServer) Revoke(ctx context.Context, req control.RevokeRequest) (control.RevokeResult, error) {
	t, err := target(req.User, req.Session, req.TokenID)
	if err != nil {
		return control.RevokeResult{}, badRequest(err)
	}
	cmd, err := registry.Revoke(t, time.Duration(req.Seconds)*time.Second)
	if err != nil {
		return control.RevokeResult{}, err
	}
	done, err := s.registry.Command(ctx, cmd)
	return control.RevokeResult{
		Closed: done.Closed, Until: cmd.Order.Until, Stored: done.Stored, Warning: done.Warning,
	}, err
}

// target returns the connections that an operator names.
func target(user, id, token string) (t registry.Target, err error) {
	t.User, t.TokenID = user, token
	if id != "" {
		if t.Session, err = session.ParseID(id); err != nil {
			err = fmt.Errorf("%w: log lines show a short hash, expedite sessions shows the id", err)
		}
	}
	return t, err
}

// badRequest returns an error that tells the operator that the request makes no sense.
func badRequest(err error) error {
	return &control.Error{Code: control.CodeBadRequest, Message: err.Error()}
}

// textMessage is the opcode of text messages. RFC 6455 §5.2.
const textMessage = 1

// Publish sends a text message to all subscribers of a topic.
func (s *ControlServer) Publish(_ context.Context, req control.PublishRequest) error {
	switch err := broker.CheckTopic(req.Topic); {
	case err != nil:
		return badRequest(err)
	case !utf8.ValidString(req.Text):
		return badRequest(errors.New("the text is not valid UTF-8"))
	case s.serving.Load() == nil:
		return &control.Error{Code: control.CodeUnavailable, Message: "the workers are not ready yet"}
	}
	return s.hub.Publish(req.Topic, textMessage, []byte(req.Text))
}

// ReopenLogs has all processes continue in new log files.
func (s *ControlServer) ReopenLogs(ctx context.Context) error {
	if s.cfg.Alone { // the registry's only worker would reopen the same file
		return s.cfg.Journal.Reopen()
	}
	return errors.Join(s.cfg.Journal.Reopen(), s.registry.ReopenLogs(ctx))
}

// Logs writes the log lines of all processes that match. A session may be named by its id or as log lines name it.
func (s *ControlServer) Logs(ctx context.Context, req control.LogsRequest, write func([]byte) error) error {
	if id, err := session.ParseID(req.Session); err == nil {
		req.Session = id.Short()
	}
	return s.registry.Logs(ctx, registry.LogQuery{
		Live: req.Follow, Recent: req.Recent,
		Filter: telemetry.Filter{
			User: req.User, Session: req.Session, Conn: req.Conn, Worker: req.Worker, Level: req.Level,
		},
	}, write)
}
