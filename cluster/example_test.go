package cluster_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/expedite-go/expedite/cluster"
)

// A primary with four workers, which run the same program.
func ExampleStart() {
	ctx := context.Background()
	p, err := cluster.Start(ctx, cluster.Config{
		Workers: 4, Listen: ":8080", Scheduling: cluster.LeastConnections,
		OnEvent: func(e cluster.Event) {
			if e.Kind == cluster.EventExit {
				log.Printf("worker %d ended: code %d, signal %v", e.Worker.Slot(), e.ExitCode, e.Signal)
			}
		},
		OnMessage: func(w *cluster.Worker, m []byte) { log.Printf("worker %d says %s", w.Slot(), m) },
	})
	if err != nil {
		log.Fatal(err)
	}
	p.Broadcast([]byte("welcome"))
	drain, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := p.Disconnect(drain); err != nil {
		log.Print(err)
	}
}

// A worker responds to each connection that the primary passes to it.
func ExampleJoin() {
	self, err := cluster.Join()
	if err != nil {
		log.Fatal(err)
	}
	finish := make(chan struct{})
	self.Serve(cluster.Hooks{
		Conns: func(fds []int) int {
			for _, fd := range fds {
				if c, err := cluster.Conn(fd); err == nil {
					_, _ = fmt.Fprintln(c, "hello from worker", self.Slot())
					_ = c.Close()
				}
			}
			return len(fds)
		},
		Message: func(m []byte) { log.Printf("the primary says %s", m) },
		Drain:   func(time.Time) { close(finish) },
		Lost:    func() { os.Exit(1) },
	})
	if err := self.Ready(); err != nil {
		log.Fatal(err)
	}
	<-finish
	_ = self.Close()
}

// The primary sends a connection that it has accepted itself to a worker, whose Hooks.Handle gets a *net.TCPConn.
func ExampleWorker_SendHandle() {
	var w *cluster.Worker // of Primary.Workers
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	c, err := ln.Accept()
	if err != nil {
		log.Fatal(err)
	}
	if err := w.SendHandle([]byte("a client"), c.(*net.TCPConn)); err != nil {
		log.Print(err) // the connection is closed
	}
}

// All workers share the listening socket of a web server; the kernel distributes the connections.
func ExampleSelf_Listen() {
	var self *cluster.Self // of Join, after Serve
	ln, err := self.Listen("tcp", ":8080")
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(ln, http.NotFoundHandler()))
}

// Two workers, one more, and other settings for later ones. The example is not run because it would start processes.
func ExamplePrimary_Fork() {
	var p *cluster.Primary // of Start
	p.Setup(cluster.Settings{Env: []string{"GOMEMLIMIT=200MiB"}})
	w, err := p.Fork("ROLE=batch")
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("worker %d of %d runs as process %d", w.Slot(), len(p.Workers()), w.PID())
}

// The names of policies are the same in flags and files.
func ExampleParsePolicy() {
	p, err := cluster.ParsePolicy("least-connections")
	fmt.Println(p, err)
	_, err = cluster.ParsePolicy("random")
	fmt.Println(err)
	// Output:
	// least-connections <nil>
	// cluster: unknown scheduling "random": want round-robin, least-connections or none
}
