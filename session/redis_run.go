package session

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// script is a program in Redis, which knows it by its hash once it has run.
type script struct{ text, hash string }

func newScript(text string) script {
	text = scriptCommon + text
	sum := sha1.Sum([]byte(text))
	return script{text, hex.EncodeToString(sum[:])}
}

// scripts are those of the store.
type scripts struct{ attach, claim, detach, touch, restore, save, list, drop script }

func newScripts() scripts {
	return scripts{
		newScript(scriptAttach), newScript(scriptClaim), newScript(scriptDetach), newScript(scriptTouch),
		newScript(scriptRestore), newScript(scriptSave), newScript(scriptList), newScript(scriptDrop),
	}
}

// run is a script with its keys and arguments.
type run struct {
	script
	keys, args []string
}

// call runs a script in one round trip; the first time on a server, in two.
func (r *Redis) call(ctx context.Context, one run) (rueidis.RedisResult, error) {
	results, err := r.callAll(ctx, []run{one})
	if err != nil {
		return rueidis.RedisResult{}, err
	}
	return results[0], one.named(redisError(results[0].Error()))
}

// named adds to an error which command of a script has failed, if it tells the line.
func (s script) named(err error) error {
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

// callAll runs many at once, each on its own. The error is that there is no connection.
func (r *Redis) callAll(ctx context.Context, all []run) ([]rueidis.RedisResult, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.timeout, errSlow)
	defer cancel()
	results, err := r.send(ctx, func(b rueidis.Builder) rueidis.Commands {
		commands := make(rueidis.Commands, len(all))
		for i, one := range all {
			n := int64(len(one.keys))
			commands[i] = b.Evalsha().Sha1(one.hash).Numkeys(n).Key(one.keys...).Arg(one.args...).Build()
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
			commands[k] = b.Eval().Script(one.text).Numkeys(n).Key(one.keys...).Arg(one.args...).Build()
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

// do sends one command.
func (r *Redis) do(ctx context.Context, build func(b rueidis.Builder) rueidis.Completed) rueidis.RedisResult {
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
func (r *Redis) send(
	ctx context.Context, build func(b rueidis.Builder) rueidis.Commands,
) ([]rueidis.RedisResult, error) {
	c, err := r.conn()
	if err != nil {
		return nil, err
	}
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, r.late(ctx)
	}
	answers := make(chan []rueidis.RedisResult, 1)
	commands := build(c.B())
	go func() { // ends with the answers, or the connection: pings find one that is silent
		answers <- c.DoMulti(context.Background(), commands...)
		<-r.slots
	}()
	select {
	case results := <-answers:
		err := redisError(results[0].NonRedisError())
		r.note(err)
		return results, err
	case <-ctx.Done():
		return nil, r.late(ctx)
	}
}

// errSlow says that it was not the caller who had no more time.
var errSlow = fmt.Errorf("Redis does not answer in time: %w", context.DeadlineExceeded)

// late is the error of a call whose time is over.
func (r *Redis) late(ctx context.Context) error {
	err := unavailable(context.Cause(ctx))
	if errors.Is(err, errSlow) {
		r.note(err)
	}
	return err
}

// resultsError is the first error of many results.
func resultsError(results []rueidis.RedisResult) error {
	for _, res := range results {
		if err := redisError(res.Error()); err != nil && !rueidis.IsRedisNil(res.Error()) {
			return err
		}
	}
	return nil
}

// batches calls f with parts of a list that are not longer than MaxBatch, until one fails.
func batches[T any](list []T, f func([]T) error) error {
	for len(list) > 0 {
		n := min(len(list), MaxBatch)
		if err := f(list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}
