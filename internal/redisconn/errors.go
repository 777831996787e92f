package redisconn

import (
	"errors"
	"fmt"
	"strings"

	"github.com/redis/rueidis"

	"github.com/expedite-go/expedite/session"
)

// unusable are the beginnings of errors of a server that is running and cannot do its work. All other errors are the
// fault of this program.
var unusable = []string{
	"OOM ", "READONLY ", "LOADING ", "MASTERDOWN ", "CLUSTERDOWN", "TRYAGAIN ", "NOREPLICAS ", "MISCONF ", "NOAUTH ",
	"WRONGPASS ", "NOPERM ", "BUSY ", "DENIED ", "MOVED ", "ASK ", "ERR max number of clients", "ERR unknown command",
	"max number of clients", "unknown command", // the client library removes ERR
}

// denied are parts of the errors of scripts whose user lacks a permission. They do not say which.
var denied = []string{"executing the script can't ", "ACL failure in script"}

// Error returns err, which is an error of the client library, as an error of a session.Store: it is
// session.ErrUnavailable unless Redis can be used and this program has made a mistake. Nil stays nil.
func Error(err error) error {
	if err == nil {
		return nil
	}
	reply, ok := rueidis.IsRedisErr(err)
	if !ok {
		return session.Unavailable(err) // no answer: the connection is lost, or the time is over
	}
	if unable(reply.Error()) {
		return session.Unavailable(withoutArgs(err))
	}
	return fmt.Errorf("session: Redis: %w", withoutArgs(err))
}

// unable reports whether the text of an error is that of a server that cannot do its work.
func unable(text string) bool {
	for _, start := range unusable {
		// An error of a command within a script is quoted in that of the script.
		if strings.HasPrefix(text, start) || strings.Contains(text, "-"+start) || strings.Contains(text, " "+start) {
			return true
		}
	}
	for _, part := range denied {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}

// Passing reports whether an error of the client library can pass without a change of the command: there was no answer,
// or the server cannot do its work.
func Passing(err error) bool {
	reply, ok := rueidis.IsRedisErr(err)
	return !ok || unable(reply.Error())
}

// Text returns the text of an error of this package or of the client library that another package may show: without
// arguments of commands, and without the name of package session.
func Text(err error) string {
	text := withoutArgs(err).Error()
	for _, prefix := range []string{session.ErrUnavailable.Error() + ": ", "session: Redis: ", "session: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return text
}

// errPassword is what a server means that wants a password and got none.
var errPassword = errors.New("NOAUTH: Redis wants a password: put it into the URL, redis://user:password@host, " +
	"which is best in a file (--redis-file) or in REDIS_URL")

// withoutArgs removes from an error the arguments of an unknown command, which Redis repeats: one may be a password. It
// replaces an error that does not tell what to do.
func withoutArgs(err error) error {
	if err == nil {
		return nil
	}
	if text, _, found := strings.Cut(err.Error(), ", with args"); found {
		return errors.New(text)
	}
	if strings.HasPrefix(err.Error(), "NOAUTH ") {
		return errPassword
	}
	return err
}
