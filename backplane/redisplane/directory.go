package redisplane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/internal/redisconn"
)

// directory keeps the machines at one server: in a sorted set by the end of their leases, by the clock of the server,
// and what they say of themselves in a hash. It has a connection of its own, made when it is first used, which serves
// presence, too.
type directory struct {
	url  string
	keys []string

	mu     sync.Mutex
	conn   *redisconn.Conn
	closed bool
}

const (
	// maxMachines is the number of machines in a directory. Further ones are refused.
	maxMachines = 4096
	// keepDirectory is how long the keys outlive the last announcement.
	keepDirectory = time.Minute
)

// forgetEnded begins scripts: it sets now, and removes machines whose lease has ended.
const forgetEnded = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local ended = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 1000)
if #ended > 0 then
	redis.call('ZREM', KEYS[1], unpack(ended))
	redis.call('HDEL', KEYS[2], unpack(ended))
end
`

// directoryScripts are the scripts of a directory.
type directoryScripts struct{ announce, withdraw, list redisconn.Script }

func newDirectoryScripts() directoryScripts {
	return directoryScripts{
		// ARGV: name, about, lease in ms, the most machines, ms that the keys outlive it
		announce: redisconn.NewScript(forgetEnded + `
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[4]) and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
	return -1
end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
for i = 1, 2 do
	redis.call('PEXPIRE', KEYS[i], math.max(ARGV[3] + ARGV[5], redis.call('PTTL', KEYS[i])))
end
return redis.call('ZCARD', KEYS[1])`),
		withdraw: redisconn.NewScript(`
redis.call('ZREM', KEYS[1], ARGV[1])
return redis.call('HDEL', KEYS[2], ARGV[1])`),
		list: redisconn.NewScript(forgetEnded + `
local list = {}
for i, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
	list[2*i-1] = name
	list[2*i] = redis.call('HGET', KEYS[2], name) or ''
end
return list`),
	}
}

func newDirectory(url, prefix string) *directory {
	prefix += "{machines}:" // both keys are in one slot of a cluster
	return &directory{url: url, keys: []string{prefix + "leases", prefix + "about"}}
}

// connect returns the connection. The first time, it waits for it.
func (d *directory) connect(ctx context.Context) (*redisconn.Conn, error) {
	d.mu.Lock()
	if d.conn == nil && !d.closed {
		var err error
		if d.conn, err = redisconn.Open(d.url, 0); err != nil {
			d.mu.Unlock()
			return nil, explain(err)
		}
	}
	c, closed := d.conn, d.closed
	d.mu.Unlock()
	if closed {
		return nil, backplane.ErrClosed
	}
	c.Wait(ctx)
	return c, nil
}

// run runs a script.
func (d *directory) run(ctx context.Context, s redisconn.Script, args ...string) ([]string, error) {
	c, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	res, err := c.Run(ctx, s.Call(d.keys, args...))
	if err != nil {
		return nil, explain(err)
	}
	if list, err := res.AsStrSlice(); err == nil {
		return list, nil
	}
	n, err := res.AsInt64()
	if err != nil {
		return nil, explain(err)
	}
	return []string{strconv.FormatInt(n, 10)}, nil
}

func (d *directory) close() {
	d.mu.Lock()
	c := d.conn
	d.conn, d.closed = nil, true
	d.mu.Unlock()
	if c != nil {
		_ = c.Close()
	}
}

var errMachines = errors.New("backplane: Redis: there are 4,096 machines already")

// Announce implements backplane.Directory. If there are several URLs, every server has all machines.
func (r *Redis) Announce(ctx context.Context, m backplane.Machine, lease time.Duration) (known int, err error) {
	if err := m.Check(); err != nil {
		return 0, fmt.Errorf("%w: the name or the description of a machine", err)
	}
	answers, err := r.direct(ctx, r.directory.announce, m.Name, string(m.About), millis(lease),
		strconv.Itoa(maxMachines), millis(keepDirectory))
	for _, list := range answers {
		n, _ := strconv.Atoi(strings.Join(list, ""))
		known = max(known, n)
		if n < 0 && err == nil && len(answers) == 1 {
			err = errMachines
		}
	}
	return known, err
}

// Withdraw implements backplane.Directory.
func (r *Redis) Withdraw(ctx context.Context, name string) error {
	_, err := r.direct(ctx, r.directory.withdraw, name)
	return err
}

// Machines implements backplane.Directory. A machine is known if any server knows it.
func (r *Redis) Machines(ctx context.Context) ([]backplane.Machine, error) {
	answers, err := r.direct(ctx, r.directory.list)
	if err != nil {
		return nil, err
	}
	var list []backplane.Machine
	for _, flat := range answers {
		for i := 0; i+1 < len(flat); i += 2 {
			list = append(list, backplane.Machine{Name: flat[i], About: []byte(flat[i+1])})
		}
	}
	byName := func(a, b backplane.Machine) int { return strings.Compare(a.Name, b.Name) }
	slices.SortStableFunc(list, byName)
	return slices.CompactFunc(list, func(a, b backplane.Machine) bool { return a.Name == b.Name }), nil
}

// direct runs a script at all servers at once. It fails if all of them have.
func (r *Redis) direct(ctx context.Context, s redisconn.Script, args ...string) (answers [][]string, err error) {
	if r.state.Load() != stateStarted {
		return nil, backplane.ErrClosed
	}
	type result struct {
		list []string
		err  error
	}
	results := make([]result, len(r.shards))
	var all sync.WaitGroup
	for i, one := range r.shards {
		all.Go(func() { results[i].list, results[i].err = one.dir.run(ctx, s, args...) })
	}
	all.Wait()
	for _, one := range results {
		if one.err != nil {
			err = one.err
			continue
		}
		answers = append(answers, one.list)
	}
	if len(answers) > 0 {
		err = nil
	}
	return answers, err
}

func millis(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 1), 10) }

var _ backplane.Directory = (*Redis)(nil)
