package redisplane

import (
	"errors"
	"fmt"
	"strings"

	"github.com/redis/rueidis"

	"github.com/expedite-go/expedite/internal/redisconn"
)

var (
	errConnecting   = errors.New("backplane: not connected to Redis yet")
	errSilent       = errors.New("the server is silent")
	errLost         = errors.New("the connection is lost")
	errUnsubscribed = errors.New("backplane: Redis: the server has ended the subscription")
	errMoved        = errors.New("backplane: Redis: the topic has moved to another server")
	errReplica      = errors.New("backplane: Redis: the server is a replica")
	errProtocol     = errors.New("backplane: Redis: the server does not know RESP3")
	errKills        = errors.New("backplane: Redis: the server ends the connection at a large message")
	errLayout       = errors.New("backplane: Redis: the cluster has no servers")
	errMode         = errors.New("backplane: Redis: some servers of the cluster have no sharded channels")
	errAnswer       = errors.New("backplane: Redis: an answer is not understood")
	errNoEpoch      = errors.New("backplane: Redis: the server takes no new topic at present")
	errNoPrimary    = errors.New("backplane: Redis: no Sentinel knows the primary")
)

// explain returns an error of the client library as one of this package, without secrets.
func explain(err error) error {
	if err == nil {
		return nil
	}
	if strings.HasPrefix(err.Error(), packagePrefix) {
		return err
	}
	return fmt.Errorf("%sRedis: %w", packagePrefix, renamed{err, redisconn.Text(err)})
}

// as returns an error that is one of package backplane because of another one.
func as(kind, cause error) error {
	cause = explain(cause)
	return fmt.Errorf("%w: %w", kind, renamed{cause, strings.TrimPrefix(cause.Error(), packagePrefix)})
}

// packagePrefix begins all errors, once.
const packagePrefix = "backplane: "

// renamed is an error with another text, which has no secrets.
type renamed struct {
	error
	text string
}

func (r renamed) Error() string { return r.text }

func (r renamed) Unwrap() error { return r.error }

// reply returns the error of a server as text, or nothing if the server has not answered.
func reply(err error) string {
	if e, ok := rueidis.IsRedisErr(err); ok {
		return e.Error()
	}
	return ""
}

// hopeless reports whether an answer means that a server will never take a message or a subscription, whereas it may
// take others.
func hopeless(err error) bool {
	text := reply(err)
	if strings.HasPrefix(text, "NOPERM") {
		return strings.Contains(text, "channel") // and not a command
	}
	return !redisconn.Passing(err)
}

// movedTo returns the address that an answer refers to, or nothing.
func movedTo(err error) string {
	if e, ok := rueidis.IsRedisErr(err); ok {
		if addr, ok := e.IsMoved(); ok {
			return addr
		}
	}
	return ""
}
