package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// listenToOrders makes a worker execute messages as orders, and answer each of them.
func (w *testWorker) listenToOrders(h *Hooks) {
	var mu sync.Mutex
	var open []io.Closer
	h.Message = func(m []byte) {
		words := strings.Fields(string(m))
		switch arg := words[1:]; words[0] {
		case "listen", "packet":
			go func() { // ends with the primary's answer, which comes after this message
				c, what := w.listen(words[0], arg[0], arg[1])
				if c != nil {
					mu.Lock()
					open = append(open, c)
					mu.Unlock()
				}
				w.say(what)
			}()
		case "unlisten":
			mu.Lock()
			c := open[0]
			open = open[1:]
			mu.Unlock()
			w.say(fmt.Sprint(c.Close()))
		case "disconnect":
			_ = w.self.Disconnect()
			w.quit <- 0
		case "flood":
			go func() { w.say(w.flood()) }() // ends with the answer
		default:
			w.say(w.execute(words[0], arg))
		}
	}
	h.Handle = func(m []byte, h Handle) { w.use(string(m), h) }
}

func (w *testWorker) say(s string) { _ = w.self.Send([]byte(s)) }

// execute executes an order that does not block.
func (w *testWorker) execute(order string, arg []string) string {
	switch order {
	case "cwd":
		dir, _ := os.Getwd()
		return dir
	case "who":
		groups, _ := os.Getgroups()
		return fmt.Sprint(os.Getuid(), os.Getgid(), groups)
	case "env":
		return os.Getenv(arg[0])
	case "args":
		return fmt.Sprint(os.Args[1:])
	case "print":
		fmt.Println(arg[0])
		return "printed"
	case "lost":
		return fmt.Sprint(w.self.HandlesLost(), " ", w.self.IsConnected())
	case "limit": // allows this many more descriptors
		n, _ := strconv.Atoi(arg[0])
		return fmt.Sprint(limitFDs(n))
	case "exit":
		n, _ := strconv.Atoi(arg[0])
		os.Exit(n)
	case "send":
		return w.sendHandle(arg[0])
	}
	return "unknown order " + order
}

// limitFDs lets this process open n more descriptors. The limit applies to their numbers, so it fills gaps first.
func limitFDs(n int) error {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	highest := 0
	for _, e := range list {
		fd, _ := strconv.Atoi(e.Name())
		highest = max(highest, fd)
	}
	for {
		fd, err := dupFD(0)
		if err != nil {
			return err
		}
		if fd > highest {
			closeFD(fd)
			top := uint64(highest + 1 + n)
			return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: top, Max: top})
		}
	}
}

// listen opens a shared socket and serves its clients.
func (w *testWorker) listen(order, network, address string) (io.Closer, string) {
	if order == "packet" {
		pc, err := w.self.ListenPacket(network, address)
		if err != nil {
			return nil, err.Error()
		}
		go w.echoPackets(pc) // ends with the socket
		return pc, pc.LocalAddr().String()
	}
	ln, err := w.self.Listen(network, address)
	if err != nil {
		return nil, fmt.Sprint(err, " in use: ", errors.Is(err, syscall.EADDRINUSE))
	}
	go w.accept(ln) // ends with the socket
	return ln, ln.Addr().String()
}

func (w *testWorker) echoPackets(pc net.PacketConn) {
	b := make([]byte, 100)
	for {
		_, from, err := pc.ReadFrom(b)
		if err != nil {
			return
		}
		_, _ = pc.WriteTo(fmt.Appendln(nil, w.self.Slot(), w.self.Generation()), from)
	}
}

// flood sends until the queue is full, and waits for room.
func (w *testWorker) flood() string {
	m := make([]byte, 1<<20)
	var err error
	for err == nil {
		err = w.self.Send(m)
	}
	if !errors.Is(err, ErrOverloaded) {
		return err.Error()
	}
	before := w.self.IsConnected()
	if err := w.self.Wait(context.Background()); err != nil {
		return err.Error()
	}
	<-w.self.Drained()
	return fmt.Sprint("drained ", before, w.self.Send(nil))
}

// use uses a handle, to show that it works.
func (w *testWorker) use(m string, h Handle) {
	switch h := h.(type) {
	case *net.TCPListener:
		go w.accept(h) // ends with the process
	case *net.UnixListener:
		go w.accept(h) // ends with the process
	case *net.UDPConn:
		go w.echoPackets(h) // ends with the process
	case *os.File:
		b, err := io.ReadAll(h)
		_ = h.Close()
		w.say(fmt.Sprint(m, " ", string(b), " ", err))
		return
	case net.Conn:
		go w.serve(h) // ends with the connection
	}
	w.say(fmt.Sprintf("%s %T", m, h))
}

// sendHandle makes a handle and sends it to the primary.
func (w *testWorker) sendHandle(what string) string {
	var h Handle
	switch what {
	case "listener":
		ln, err := net.Listen("tcp", anyPort)
		if err != nil {
			return err.Error()
		}
		h = ln.(*net.TCPListener)
	default:
		r, to, err := os.Pipe()
		if err != nil {
			return err.Error()
		}
		_, _ = to.WriteString("from the worker")
		_ = to.Close()
		h = r
	}
	err := w.self.SendHandle([]byte(what), h)
	return fmt.Sprint("sent ", err, " closed ", isClosed(h))
}

func isClosed(h Handle) bool {
	raw, err := h.SyscallConn()
	return err != nil || raw.Control(func(uintptr) {}) != nil
}

// takeAsFiles takes sockets without duplicating their descriptors.
func (w *testWorker) takeAsFiles(fds []int) int {
	for _, fd := range fds {
		go w.serve(os.NewFile(uintptr(fd), "conn")) // ends with the connection
	}
	return len(fds)
}

// orders is a group whose workers execute orders.
type orders struct {
	*group
	answers chan string
}

// startOrders starts a primary whose workers execute orders.
func startOrders(t *testing.T, cfg Config, play string) *orders {
	t.Helper()
	o := &orders{answers: make(chan string, 1000)}
	cfg.OnMessage = func(_ *Worker, m []byte) { o.answers <- string(m) }
	o.group = start(t, cfg, play)
	return o
}

// answer returns the next answer of a worker.
func (o *orders) answer() string {
	o.t.Helper()
	select {
	case s := <-o.answers:
		return s
	case <-time.After(patience):
		o.t.Fatal("no answer")
		return ""
	}
}

// order sends an order and returns the answer.
func (o *orders) order(w *Worker, what string) string {
	o.t.Helper()
	if err := w.Send([]byte(what)); err != nil {
		o.t.Fatal(err)
	}
	return o.answer()
}

// expect sends an order and compares the answer.
func (o *orders) expect(w *Worker, what, want string) {
	o.t.Helper()
	if got := o.order(w, what); got != want {
		o.t.Errorf("%s: worker %d says %q, want %q", what, w.Slot(), got, want)
	}
}

// dialAt connects to an address and reads the worker's name.
func dialAt(t *testing.T, network, address string) (client, error) {
	t.Helper()
	c, err := net.DialTimeout(network, address, patience)
	if err != nil {
		return client{}, err
	}
	t.Cleanup(func() { _ = c.Close() })
	if strings.HasPrefix(network, "udp") {
		_, _ = c.Write([]byte("x"))
	}
	return greet(c)
}
