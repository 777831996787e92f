package engine

import "github.com/expedite-go/expedite/ws/deflate"

// windows are the ends of the plaintext that a connection with context takeover has received and sent in compressed
// messages. Uncompressed ones do not count. RFC 7692 §7.2.
type windows struct {
	in  deflate.Window // what the peer's next message may refer to; on the loop
	out deflate.Window // what ours may refer to, a part of the peer's window; guarded by Conn.mu
}

// windows returns the windows of c, or nil if it has none. It is safe for concurrent use.
func (c *Conn) windows() *windows {
	if !c.agreed.sendsLinked() && !c.agreed.receivesLinked() {
		return nil
	}
	e := c.eng
	e.windowsMu.RLock()
	defer e.windowsMu.RUnlock()
	return e.windows[c]
}

// addWindows gives c, which opens or arrives, the windows that it needs.
func (c *Conn) addWindows() {
	if !c.agreed.sendsLinked() && !c.agreed.receivesLinked() {
		return
	}
	e := c.eng
	e.windowsMu.Lock()
	defer e.windowsMu.Unlock()
	if e.windows == nil {
		e.windows = make(map[*Conn]*windows)
	}
	e.windows[c] = new(windows)
}

// dropWindows frees the windows of c, which is gone.
func (c *Conn) dropWindows() {
	if !c.agreed.sendsLinked() && !c.agreed.receivesLinked() {
		return
	}
	e := c.eng
	e.windowsMu.Lock()
	defer e.windowsMu.Unlock()
	delete(e.windows, c)
}

// received returns what the peer's next message may refer to.
func (w *windows) received(a agreement) []byte {
	if w == nil || !a.receivesLinked() {
		return nil
	}
	return w.in.Bytes()
}

// receive adds a message of the peer.
func (w *windows) receive(a agreement, plain []byte) {
	if w != nil && a.receivesLinked() {
		w.in.Append(plain, a.receivedSize())
	}
}

// send adds a message of ours, which is now in the window of the peer.
func (w *windows) send(a agreement, plain []byte) {
	if w != nil && a.sendsLinked() {
		w.out.Append(plain, a.sentSize())
	}
}
