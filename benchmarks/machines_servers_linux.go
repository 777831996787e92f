package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/centrifugal/centrifuge"
	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/backplane/redisplane"
)

// serveMachine runs one of two machines that share a Redis: the peer's name, the URL of Redis and a folder are the
// arguments. It prints its address, and ends with its standard input. At SIGUSR2, each of its processes frees memory.
func serveMachine(args []string) error {
	if len(args) != 3 {
		return errors.New("want a name, a URL and a folder")
	}
	name, url := args[0], args[1]
	trim := make(chan os.Signal, 1)
	signal.Notify(trim, unix.SIGUSR2)
	go func() { // ends with the process
		for range trim {
			debug.FreeOSMemory()
		}
	}()
	if strings.HasPrefix(name, "centrifuge") {
		return serveCentrifuge(url)
	}
	if name == "bare" {
		return serveBare(url)
	}
	if name == "alone" { // one machine, without Redis
		url = ""
	}
	workers := -1
	if _, after, several := strings.Cut(name, "/"); several {
		workers, _ = strconv.Atoi(after)
	}
	return serveExpedite(workers, url)
}

// untilInputEnds calls f when the standard input ends.
func untilInputEnds(f func()) {
	go func() { // ends with the process
		_, _ = io.Copy(io.Discard, os.Stdin)
		f()
	}()
}

// serveExpedite publishes each message on the topic that it names, and subscribes for those that begin with a plus.
func serveExpedite(workers int, url string) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	config := expedite.Config{
		Addr: "127.0.0.1:0", Workers: workers,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
		OnStart: func(st expedite.Started) { // not in workers, which have no standard input
			fmt.Println(st.Addresses[0])
			untilInputEnds(func() { cancel(expedite.ErrStopNow) })
		},
	}
	if url != "" {
		plane, err := redisplane.New([]string{url}, redisplane.Config{})
		if err != nil {
			return err
		}
		config.Backplane = plane
	}
	app := expedite.New(config)
	app.Handle("/", expedite.Handler{
		Inline: true, PingInterval: -1, IdleTimeout: -1,
		Message: func(c *expedite.Conn, m expedite.Message) {
			b := m.Bytes()
			if b[0] != '+' {
				if err := app.Publish(string(b[1:1+topicLen]), m); err != nil {
					_ = c.Close(1011, err.Error())
				}
				return
			}
			first, n := parseTopics(string(b[1:]))
			for i := range n {
				if err := c.Subscribe(topicName(first + i)); err != nil {
					_ = c.Close(1011, err.Error())
				}
			}
			c.Send(expedite.Text("ok"))
		},
	})
	if err := app.Run(ctx); err != nil && !errors.Is(err, expedite.ErrTrial) && ctx.Err() == nil {
		return err
	}
	return nil
}

// parseTopics reads "first n".
func parseTopics(text string) (first, n int) {
	a, b, _ := strings.Cut(text, " ")
	first, _ = strconv.Atoi(a)
	n, _ = strconv.Atoi(b)
	return first, n
}

// serveCentrifuge permits everything. Clients publish with the command for that, or send a message for the server to
// publish, which is not answered.
func serveCentrifuge(url string) error {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return err
	}
	shard, err := centrifuge.NewRedisShard(node, centrifuge.RedisShardConfig{Address: url})
	if err != nil {
		return err
	}
	broker, err := centrifuge.NewRedisBroker(node, centrifuge.RedisBrokerConfig{Shards: []*centrifuge.RedisShard{shard}})
	if err != nil {
		return err
	}
	node.SetBroker(broker)
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{}}, nil
	})
	node.OnConnect(func(c *centrifuge.Client) {
		c.OnSubscribe(func(_ centrifuge.SubscribeEvent, answer centrifuge.SubscribeCallback) {
			answer(centrifuge.SubscribeReply{}, nil)
		})
		c.OnPublish(func(_ centrifuge.PublishEvent, answer centrifuge.PublishCallback) {
			answer(centrifuge.PublishReply{}, nil)
		})
		c.OnMessage(func(e centrifuge.MessageEvent) {
			if _, err := node.Publish(string(e.Data[2:2+topicLen]), e.Data); err != nil {
				c.Disconnect(centrifuge.DisconnectServerError)
			}
		})
	})
	if err := node.Run(); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() { // ends with the process
		_ = http.Serve(ln, centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
			PingPongConfig: centrifuge.PingPongConfig{PingInterval: -1},
		}))
	}()
	out := bufio.NewWriter(os.Stdout)
	fmt.Fprintln(out, ln.Addr())
	if err := out.Flush(); err != nil {
		return err
	}
	ended := make(chan struct{})
	untilInputEnds(func() { close(ended) })
	<-ended
	return nil
}
