package session

import (
	"context"
	"crypto/sha1"
	"encoding/hex"

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
type scripts struct{ attach, detach, touch, restore, save, list, drop script }

func newScripts() scripts {
	return scripts{
		newScript(scriptAttach), newScript(scriptDetach), newScript(scriptTouch), newScript(scriptRestore),
		newScript(scriptSave), newScript(scriptList), newScript(scriptDrop),
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
	return results[0], redisError(results[0].Error())
}

// callAll runs many at once, each on its own. The error is that there is no connection.
func (r *Redis) callAll(ctx context.Context, all []run) ([]rueidis.RedisResult, error) {
	c, err := r.conn()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	commands := make(rueidis.Commands, len(all))
	for i, one := range all {
		commands[i] = c.B().Evalsha().Sha1(one.hash).Numkeys(int64(len(one.keys))).Key(one.keys...).Arg(one.args...).Build()
	}
	results := c.DoMulti(ctx, commands...)
	var unknown []int
	for i, res := range results {
		if said, ok := rueidis.IsRedisErr(res.Error()); ok && said.IsNoScript() {
			unknown = append(unknown, i)
		}
	}
	if len(unknown) == 0 {
		return results, nil
	}
	commands = commands[:0]
	for _, i := range unknown {
		one := all[i]
		commands = append(commands,
			c.B().Eval().Script(one.text).Numkeys(int64(len(one.keys))).Key(one.keys...).Arg(one.args...).Build())
	}
	for k, res := range c.DoMulti(ctx, commands...) {
		results[unknown[k]] = res
	}
	return results, nil
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
