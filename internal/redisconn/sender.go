package redisconn

import (
	"context"
	"fmt"

	"github.com/redis/rueidis"

	"github.com/expedite-go/expedite/session"
)

const (
	// maxSenders is the number of calls that wait for Redis at the same time. Further calls wait for a sender, which
	// sends all that wait in one round trip.
	maxSenders = 32
	// mergeCommands is the number of commands from which on a sender takes no further calls into its round trip.
	mergeCommands = session.MaxBatch
)

// errSlow means that a call has used up its own time, not that of its caller.
var errSlow = fmt.Errorf("no answer of Redis in time: %w", context.DeadlineExceeded)

// call is a list of commands that are sent together.
type call struct {
	commands rueidis.Commands
	alone    bool // it must not share a round trip
	answers  chan []rueidis.RedisResult
}

// send sends commands and blocks until Redis has answered them or ctx ends. The client library can block for longer
// than a context allows. Therefore senders call it, and a caller whose time is over leaves.
func (c *Conn) send(
	ctx context.Context, alone bool, build func(b rueidis.Builder) rueidis.Commands,
) ([]rueidis.RedisResult, error) {
	client, err := c.Client()
	if err != nil {
		return nil, err
	}
	one := &call{build(client.B()), alone, make(chan []rueidis.RedisResult, 1)}
	if err := c.submit(ctx, client, one); err != nil {
		return nil, err
	}
	select {
	case results := <-one.answers:
		return results, Error(results[0].NonRedisError())
	case <-ctx.Done():
		return nil, session.Unavailable(context.Cause(ctx))
	}
}

// submit gives a call to a sender: to an idle one, to a new one, or to the first that becomes idle.
func (c *Conn) submit(ctx context.Context, client rueidis.Client, one *call) error {
	select {
	case c.calls <- one:
		return nil
	default:
	}
	if c.addSender(client, one) {
		return nil
	}
	select {
	case c.calls <- one:
		return nil
	case <-ctx.Done():
		return session.Unavailable(context.Cause(ctx))
	case <-c.done:
		return session.Unavailable(errClosed)
	}
}

// addSender starts a sender with a call, and reports false if there are enough.
func (c *Conn) addSender(client rueidis.Client, first *call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.senders == maxSenders || c.closed {
		return false
	}
	c.senders++
	c.tasks.Go(func() { // ends with Close
		for one := first; one != nil; one = c.nextCall() {
			c.roundTrip(client, one)
		}
	})
	return true
}

// nextCall waits for a call. It returns nil if the Conn is closed.
func (c *Conn) nextCall() *call {
	select {
	case one := <-c.calls:
		return one
	case <-c.done:
		return nil
	}
}

// roundTrip sends a call, together with others that wait for a sender.
func (c *Conn) roundTrip(client rueidis.Client, first *call) {
	all, alone := c.gather(first)
	var commands rueidis.Commands
	for _, one := range all {
		commands = append(commands, one.commands...)
	}
	// A server that is silent ends this wait: the library closes a connection whose ping is not answered in time.
	results := client.DoMulti(context.Background(), commands...)
	for _, one := range all {
		one.answers <- results[:len(one.commands):len(one.commands)]
		results = results[len(one.commands):]
	}
	if alone != nil {
		c.roundTrip(client, alone)
	}
}

// gather returns the calls of one round trip: the first, and those that wait for a sender. One that must be alone is
// the last to be gathered.
func (c *Conn) gather(first *call) (all []*call, alone *call) {
	all = []*call{first}
	for size := len(first.commands); !first.alone && size < mergeCommands; {
		select {
		case one := <-c.calls:
			if one.alone {
				return all, one
			}
			all = append(all, one)
			size += len(one.commands)
		default:
			return all, nil
		}
	}
	return all, nil
}
