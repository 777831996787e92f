package redisconn

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/expedite-go/expedite/session"
	"github.com/redis/rueidis"
)

// Script is a program in Redis, which knows it by its hash once it has run.
type Script struct{ text, hash string }

// NewScript returns the script of a text.
func NewScript(text string) Script {
	sum := sha1.Sum([]byte(text))
	return Script{text, hex.EncodeToString(sum[:])}
}

// Call is a script with its keys and arguments.
type Call struct {
	script     Script
	keys, args []string
}

// Call returns the script with keys and arguments.
func (s Script) Call(keys []string, args ...string) Call { return Call{s, keys, args} }

// Run runs a script in one round trip; the first time on a server, in two.
func (r *Conn) Run(ctx context.Context, one Call) (rueidis.RedisResult, error) {
	results, err := r.RunAll(ctx, []Call{one})
	if err != nil {
		return rueidis.RedisResult{}, err
	}
	return results[0], one.script.named(Error(results[0].Error()))
}

// named adds to an error which command of a script has failed, if it tells the line.
func (s Script) named(err error) error {
	if err == nil {
		return nil
	}
	_, rest, _ := strings.Cut(err.Error(), "@user_script:")
	digits := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if digits < 1 {
		return err
	}
	number, _ := strconv.Atoi(rest[:digits]) // 0 if it is too long
	lines := strings.Split(s.text, "\n")
	if number < 1 || number > len(lines) {
		return err
	}
	_, call, found := strings.Cut(lines[number-1], "redis.call('")
	if command, _, _ := strings.Cut(call, "'"); found {
		return fmt.Errorf("%w (the permission for %s may be missing)", err, command)
	}
	return err
}

// RunAll runs many at once, each on its own. The error is that there is no connection.
func (r *Conn) RunAll(ctx context.Context, all []Call) ([]rueidis.RedisResult, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.timeout, errSlow)
	defer cancel()
	results, err := r.send(ctx, func(b rueidis.Builder) rueidis.Commands {
		commands := make(rueidis.Commands, len(all))
		for i, one := range all {
			n := int64(len(one.keys))
			commands[i] = b.Evalsha().Sha1(one.script.hash).Numkeys(n).Key(one.keys...).Arg(one.args...).Build()
		}
		return commands
	})
	if err != nil {
		return nil, err
	}
	var unknown []int
	for i, res := range results {
		if said, ok := rueidis.IsRedisErr(res.Error()); ok && said.IsNoScript() {
			unknown = append(unknown, i)
		}
	}
	if len(unknown) == 0 {
		return results, nil
	}
	again, err := r.send(ctx, func(b rueidis.Builder) rueidis.Commands {
		commands := make(rueidis.Commands, len(unknown))
		for k, i := range unknown {
			one := all[i]
			n := int64(len(one.keys))
			commands[k] = b.Eval().Script(one.script.text).Numkeys(n).Key(one.keys...).Arg(one.args...).Build()
		}
		return commands
	})
	if err != nil {
		return nil, err
	}
	for k, res := range again {
		results[unknown[k]] = res
	}
	return results, nil
}

// Do sends one command.
func (r *Conn) Do(ctx context.Context, build func(b rueidis.Builder) rueidis.Completed) rueidis.RedisResult {
	ctx, cancel := context.WithTimeoutCause(ctx, r.timeout, errSlow)
	defer cancel()
	results, err := r.send(ctx, func(b rueidis.Builder) rueidis.Commands { return rueidis.Commands{build(b)} })
	if err != nil {
		return rueidis.NewErrorResult(err)
	}
	return results[0]
}

// send sends commands and waits for the answers, as long as ctx lets it. The client's own queue knows no such end: so
// it is called by another goroutine, and never has more to do than it has room for.
func (r *Conn) send(
	ctx context.Context, build func(b rueidis.Builder) rueidis.Commands,
) ([]rueidis.RedisResult, error) {
	c, err := r.Client()
	if err != nil {
		return nil, err
	}
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, session.Unavailable(context.Cause(ctx))
	}
	answers := make(chan []rueidis.RedisResult, 1)
	commands := build(c.B())
	go func() { // ends with the answers, or the connection: pings find one that is silent
		answers <- c.DoMulti(context.Background(), commands...)
		<-r.slots
	}()
	select {
	case results := <-answers:
		return results, Error(results[0].NonRedisError())
	case <-ctx.Done():
		return nil, session.Unavailable(context.Cause(ctx))
	}
}

// errSlow says that it was not the caller who had no more time.
var errSlow = fmt.Errorf("Redis does not answer in time: %w", context.DeadlineExceeded)

// FirstError is the first error of many results.
func FirstError(results []rueidis.RedisResult) error {
	for _, res := range results {
		if err := Error(res.Error()); err != nil && !rueidis.IsRedisNil(res.Error()) {
			return err
		}
	}
	return nil
}
