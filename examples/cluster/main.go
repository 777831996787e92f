// Command cluster is a TCP echo server: a primary and one worker process per core on one port. Of this project it
// uses only the package cluster. Try it with: nc localhost 7000
package main

import (
	"context"
	"io"
	"log"
	"net"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/expedite-go/expedite/cluster"
)

func main() {
	run := primary
	if cluster.IsWorker() {
		run = worker
	}
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

// primary runs the workers until it receives SIGTERM or SIGINT.
func primary() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	p, err := cluster.Start(ctx, cluster.Config{Listen: ":7000"})
	if err != nil {
		return err
	}
	log.Printf("%d workers at %s", len(p.Workers()), p.Addr())
	<-ctx.Done()
	drain, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return p.Disconnect(drain)
}

// worker echoes until its primary asks it to finish or ends, and then until its clients have disconnected.
func worker() error {
	self, err := cluster.Join()
	if err != nil {
		return err
	}
	finish := make(chan struct{})
	once := sync.OnceFunc(func() { close(finish) })
	var clients sync.WaitGroup
	self.Serve(cluster.Hooks{
		Conns: func(fds []int) int {
			for _, fd := range fds {
				c, err := cluster.Conn(fd)
				if err != nil {
					log.Print(err)
					continue
				}
				clients.Go(func() { echo(c) }) // ends with the client
			}
			return len(fds)
		},
		Drain: func(time.Time) { once() }, // the primary kills workers that stay beyond the deadline
		Lost:  once,
	})
	if err := self.Ready(); err != nil {
		return err
	}
	<-finish
	clients.Wait()
	return self.Close()
}

func echo(c net.Conn) {
	defer c.Close()
	_, _ = io.Copy(c, c) // any error means that the client has disconnected
}
