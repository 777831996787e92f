package conformance

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// Peer is what a server does to a client.
type Peer struct {
	// Answer is the response. {accept} is replaced by the accept value, {key} by the key. If it is empty, a correct
	// response with Fields is sent.
	Answer string
	Fields string // each ends in CRLF
	Refuse bool   // the client must not open the WebSocket: it ends the connection and sends nothing
	// Send is what follows the answer, and Together sends both in one write.
	Send     []byte
	Together bool
	// Codes are those of the close frame that must follow. If there are none, the client must go on and answer pings:
	// those in Send, and as many more as Pings.
	Codes []int
	Pings int
}

// ClientTarget is a client under test.
type ClientTarget struct {
	Name     string
	Features []Feature // Deflate: it offers permessage-deflate without context takeover
	// Silent is set if the client ends a connection that it fails without a close frame, which RFC 6455 §7.1.7 allows.
	Silent bool
	// Connect opens n connections to an address. It returns when ctx ends or all connections have ended.
	Connect func(ctx context.Context, addr string, n int) error
	// Patience is as in Target.
	Patience time.Duration
}

// RunClients runs the cases of clients, all at once, each on a connection of its own. Delivery is Whole or Bytewise.
func RunClients(ctx context.Context, t *ClientTarget, d Delivery, rules []Rule) ([]Result, error) {
	server := Target{Name: t.Name, Features: t.Features, Patience: t.Patience}
	var jobs []job
	for i := range rules {
		for j := range rules[i].Cases {
			if c := &rules[i].Cases[j]; c.Peer != nil && server.has(c.Needs) {
				jobs = append(jobs, job{&rules[i], c})
			}
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeout(ctx, server.patience())
	defer stop()
	results := make([]Result, len(jobs))
	seen := &keys{}
	var all sync.WaitGroup
	all.Go(func() { // ends when each case has its connection, or the listener is closed
		var running sync.WaitGroup
		for i := range jobs {
			conn, err := l.Accept()
			if err != nil {
				err = errors.New("the client did not connect")
				results[i] = resultOf(jobs[i], &server, &Plan{Name: d.String()}, err)
				continue
			}
			running.Go(func() { // ends with its connection
				v := &meeting{conn: conn, peer: jobs[i].c.Peer, plan: &Plan{Name: d.String(), Delivery: d}, silent: t.Silent}
				results[i] = resultOf(jobs[i], &server, v.plan, v.run(seen, server.patience()))
			})
		}
		running.Wait()
		stop()
	})
	err = t.Connect(ctx, l.Addr().String(), len(jobs))
	_ = l.Close()
	all.Wait()
	return results, err
}

// keys are those that clients have sent.
type keys struct {
	mu   sync.Mutex
	list []string
}

// add reports whether a key is new. RFC 6455 §4.1.
func (k *keys) add(key string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if slices.Contains(k.list, key) {
		return false
	}
	k.list = append(k.list, key)
	return true
}

// meeting is one connection of a client.
type meeting struct {
	conn   net.Conn
	peer   *Peer
	plan   *Plan
	silent bool
	in     receiver
}

func (v *meeting) run(seen *keys, patience time.Duration) error {
	defer v.conn.Close()
	if err := v.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	br := bufio.NewReader(v.conn)
	request, err := readRequest(br)
	if err != nil {
		return err
	}
	key := strings.Join(fieldsOf(request, "Sec-WebSocket-Key"), ",")
	if err := checkRequest(request, key); err != nil {
		return err
	}
	if !seen.add(key) {
		return broke("a key that was used before (RFC 6455 §4.1)")
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	answer := v.peer.Answer
	if answer == "" {
		answer = switching + peerUpgrade + peerConnection + peerAccept + v.peer.Fields + "\r\n"
	}
	answer = strings.NewReplacer("{key}", key, "{accept}", base64.StdEncoding.EncodeToString(sum[:])).Replace(answer)
	agreed := Agreed{ServerBits: 15, ClientBits: 15}
	if v.peer.Fields == peerDeflate {
		agreed.On, agreed.ServerNoTakeover = true, true // of the client, which is the one that sends here
	}
	v.in = receiver{r: br, masked: true, keys: make(map[[4]byte]int), agreed: agreed}
	if v.peer.Together {
		v.write(append([]byte(answer), v.peer.Send...))
		return v.goesOn()
	}
	v.write([]byte(answer))
	if v.peer.Refuse {
		return v.leaves()
	}
	v.write(v.peer.Send)
	if v.peer.Codes != nil {
		return v.fails()
	}
	return v.goesOn()
}

// write sends. An error means that the client has closed the connection, which is what the reader judges.
func (v *meeting) write(b []byte) {
	size := max(len(b), 1)
	if v.plan.Delivery == Bytewise {
		size = 1
	}
	for piece := range slices.Chunk(b, size) {
		if _, err := v.conn.Write(piece); err != nil {
			return
		}
	}
}

// leaves checks that the client ends the connection and sends nothing.
func (v *meeting) leaves() error {
	b, err := v.in.r.ReadByte()
	if err == nil {
		return broke("it sent %#x after an answer that does not open the WebSocket", b)
	}
	if !gone(err) {
		return fmt.Errorf("want the end of the connection: %w", err)
	}
	return nil
}

// afterFailure is the payload of a ping that a client must not answer, because it follows what made it fail.
const afterFailure = "after the failure"

// fails checks that the client closes the connection, with one of the codes, and that it processes nothing else.
func (v *meeting) fails() error {
	v.write(unmasked(fin|opPing, afterFailure))
	for {
		ev, err := v.in.next()
		switch {
		case errors.Is(err, errServer):
			return err
		case gone(err) && v.silent:
			return nil
		case gone(err):
			return &weakness{"the connection ended without a close frame"}
		case err != nil:
			return fmt.Errorf("want a close frame with %v: %w", v.peer.Codes, err)
		case ev.Kind == Pong && string(ev.Data) == afterFailure:
			return broke("it answered a ping after the end (RFC 6455 §7.1.7)")
		case ev.Kind == Close && !slices.Contains(v.peer.Codes, ev.Codes[0]):
			return &weakness{fmt.Sprintf("close code %d, want %v", ev.Codes[0], v.peer.Codes)}
		case ev.Kind == Close:
			return nil
		}
	}
}

// goesOn checks that the client answers pings, each with its own masking key.
func (v *meeting) goesOn() error {
	for i := range v.peer.Pings + 1 {
		token := fmt.Sprint("are you there? ", i)
		v.write(unmasked(fin|opPing, token))
		for {
			ev, err := v.in.next()
			if err != nil {
				return fmt.Errorf("want the pong to a ping: %w", err)
			}
			if ev.Kind == Close {
				return broke("it closed the connection: %s", ev)
			}
			if ev.Kind == Pong && string(ev.Data) == token {
				break
			}
		}
	}
	for key, n := range v.in.keys {
		if n > 1 {
			return broke("masking key %x was used %d times (RFC 6455 §5.3)", key, n)
		}
	}
	return nil
}

// readRequest reads a request up to the empty line.
func readRequest(br *bufio.Reader) (string, error) {
	var b strings.Builder
	for b.Len() < maxBody {
		line, err := br.ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("in the request: %w", err)
		}
		b.WriteString(line)
		if line == "\r\n" {
			return b.String(), nil
		}
	}
	return "", broke("a request of more than %d bytes", maxBody)
}

// checkRequest checks a handshake as a server must. RFC 6455 §4.1, §4.2.1.
func checkRequest(request, key string) error {
	line, _, _ := strings.Cut(request, "\r\n")
	nonce, err := base64.StdEncoding.DecodeString(key)
	switch {
	case !strings.HasPrefix(line, "GET /") || !strings.HasSuffix(line, " HTTP/1.1"):
		return broke("request line %q (RFC 6455 §4.1)", line)
	case len(fieldsOf(request, "Host")) != 1:
		return broke("Host: %q (RFC 6455 §4.1)", fieldsOf(request, "Host"))
	case !hasToken(fieldsOf(request, "Upgrade"), "websocket"), !hasToken(fieldsOf(request, "Connection"), "upgrade"):
		return broke("no upgrade in %q (RFC 6455 §4.1)", request)
	case err != nil || len(nonce) != 16:
		return broke("Sec-WebSocket-Key: %q (RFC 6455 §4.1)", key)
	case !slices.Equal(fieldsOf(request, "Sec-WebSocket-Version"), []string{"13"}):
		return broke("Sec-WebSocket-Version: %q (RFC 6455 §4.1)", fieldsOf(request, "Sec-WebSocket-Version"))
	}
	return nil
}
