package traffic

import "time"

// Config is a crowd: how many clients of each kind there are, and how they behave. Zero clients of a kind are none.
type Config struct {
	// Addr is the server's host and port.
	Addr string
	// Seed makes sizes, cuts and pauses. The same seed makes the same ones, but not the same interleaving.
	Seed uint64

	// Small is the number of clients with short echoes.
	Small int
	// Fragmented is the number of clients with long text in fragments.
	Fragmented int
	// Dribbling is the number of clients that write a few bytes at a time.
	Dribbling int
	// Slow is the number of clients that read a little at a time.
	Slow int
	// Topics is the number of topics. Each has one publisher, a client of its own that hears the topic as well.
	Topics int
	// SubscribersPerTopic is the number of further clients on each topic.
	SubscribersPerTopic int
	// Directed is the number of clients that write to each other in pairs. One without a partner writes to itself.
	Directed int
	// Counting is the number of clients whose messages the server counts.
	Counting int
	// Churn is the number of clients that open, echo, close and begin again. They are no part of Clients.
	Churn int

	// Rate is the number of messages per second that a client sends, if the server keeps up. Slow clients send as
	// fast as they read. 0 is 2.
	Rate float64
	// Patience is how long Stop waits while nothing at all arrives before it calls what is missing lost, and how long
	// a closing handshake or a connection of a churn client may take. 0 is 10 s.
	Patience time.Duration
}

// Defaults of Config.
const (
	defaultRate     = 2
	defaultPatience = 10 * time.Second
)

// Mix is a crowd of n clients in the proportions that stand for a busy server, with churn beside them: 60 % small,
// 10 % on topics, 10 % directed, and 5 % of each other kind.
func Mix(addr string, n int) Config {
	twentieth := (n + 10) / 20
	cfg := Config{
		Addr: addr, Seed: 1, Fragmented: twentieth, Dribbling: twentieth, Slow: twentieth, Counting: twentieth,
		Directed: 2 * twentieth, Churn: (n + 99) / 100,
	}
	if onTopics := 2 * twentieth; onTopics > 0 {
		cfg.Topics = max(1, onTopics/10)
		cfg.SubscribersPerTopic = onTopics/cfg.Topics - 1
	}
	cfg.Small = max(0, n-cfg.Clients())
	return cfg
}

// Clients is the number of clients, without churn.
func (c Config) Clients() int {
	return c.Small + c.Fragmented + c.Dribbling + c.Slow + c.Topics*(1+c.SubscribersPerTopic) + c.Directed + c.Counting
}

func (c Config) withDefaults() Config {
	if c.Rate <= 0 {
		c.Rate = defaultRate
	}
	if c.Patience <= 0 {
		c.Patience = defaultPatience
	}
	return c
}

// interval is the mean time between two messages of a client.
func (c Config) interval() time.Duration { return time.Duration(float64(time.Second) / c.Rate) }
