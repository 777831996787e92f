package redisplane

import (
	"fmt"
	"slices"
	"strings"

	"github.com/redis/rueidis"

	"github.com/expedite-go/expedite/internal/redisconn"
)

// kind is how the servers of a URL are found.
type kind uint8

const (
	single   kind = iota
	sentinel      // by asking Sentinels
	cluster       // by asking any of them
)

// server is a URL in parts.
type server struct {
	kind   kind
	option rueidis.ClientOption
	name   string // what tells URLs apart, without secrets
	url    string
}

func newServer(rawURL string) (server, error) {
	o, err := redisconn.ParseURL(rawURL)
	if err != nil {
		return server{}, err
	}
	s := server{option: o, kind: cluster, url: rawURL}
	switch {
	case o.Sentinel.MasterSet != "":
		s.kind = sentinel
	case o.ForceSingleClient:
		s.kind = single
	}
	hosts := slices.Sorted(slices.Values(o.InitAddress))
	s.name = fmt.Sprintf("%d %s %s %d", s.kind, strings.Join(hosts, ","), o.Sentinel.MasterSet, o.SelectDB)
	return s, nil
}

const (
	// Connections have a small buffer for commands, as large payloads are written directly. That for reading limits the
	// size of a batch.
	writeBuffer, readBuffer = 32 << 10, 64 << 10
	ringScale               = 4 // 2^4 calls of the client library fit in the queue of a connection; there are two at most
)

// options returns the options of the client library for one server. All its connections are made by dial.
func (s server) options(addr string) rueidis.ClientOption {
	o := s.option
	o.InitAddress, o.ForceSingleClient, o.ShuffleInit, o.Sentinel = []string{addr}, true, false, rueidis.SentinelOption{}
	o.ClientName, o.ClientSetInfo = "expedite-backplane", []string{}
	o.DisableCache, o.DisableRetry, o.PipelineMultiplex, o.AlwaysPipelining = true, true, -1, true
	o.BlockingPipeline = -1 // large pipelines use the same connection
	o.RingScaleEachConn, o.ReadBufferEachConn, o.WriteBufferEachConn = ringScale, readBuffer, writeBuffer
	o.Dialer.Timeout, o.ConnWriteTimeout = dialTimeout, silence
	o.Dialer.KeepAlive = -1 // which ends the pings of the library: they do not tell a silent server from a slow Receiver
	return o
}

// sentinelOptions returns the options for a Sentinel.
func (s server) sentinelOptions(addr string) rueidis.ClientOption {
	o := s.options(addr)
	of := s.option.Sentinel
	o.Username, o.Password, o.TLSConfig, o.SelectDB = of.Username, of.Password, of.TLSConfig, 0
	return o
}
