package traffic

import (
	"crypto/tls"
	"time"
)

// Config describes the load: how many clients of each kind to run, and how they behave. A count of zero runs no client
// of that kind.
type Config struct {
	// Addr is the server's host and port.
	Addr string
	// Seed determines sizes, cuts and pauses. The same seed repeats these, but not the interleaving of clients.
	Seed uint64

	// Small is the number of clients that send short echoes.
	Small int
	// Fragmented is the number of clients that send long texts in fragments.
	Fragmented int
	// Dribbling is the number of clients that write a few bytes at a time.
	Dribbling int
	// Slow is the number of clients that read a little at a time.
	Slow int
	// Topics is the number of topics. Each has one publisher, a separate client that also subscribes to the topic.
	Topics int
	// SubscribersPerTopic is the number of further clients on each topic.
	SubscribersPerTopic int
	// Directed is the number of clients that send messages to each other in pairs. A client without a partner sends to
	// itself.
	Directed int
	// Counting is the number of clients whose messages the server counts.
	Counting int
	// Churn is the number of clients that repeatedly open a connection, echo and close it. Clients does not count them.
	Churn int

	// Compression makes clients offer permessage-deflate, each with other parameters, and send texts that can be
	// compressed.
	Compression bool
	// TLS makes clients use TLS. Nil is none.
	TLS *tls.Config

	// Rate is the number of messages per second that each client sends if the server keeps up. Slow clients ignore it
	// and send as fast as they read. If zero, it is 2.
	Rate float64
	// Patience is how long Stop waits without any message arriving before it counts missing messages as lost. It also
	// bounds each closing handshake and each churn connection. If zero, it is 10 s.
	Patience time.Duration
}

// Defaults of Config.
const (
	defaultRate     = 2
	defaultPatience = 10 * time.Second
)

// Mix returns the Config of n clients in the proportions of a busy server: 60 % small, 10 % on topics, 10 % directed,
// and 5 % of each other kind. It adds churn clients on top of n.
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

// Clients returns the number of clients, churn excluded.
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

// interval returns the mean time between two messages of a client.
func (c Config) interval() time.Duration { return time.Duration(float64(time.Second) / c.Rate) }
