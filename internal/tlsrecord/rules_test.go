package tlsrecord

import (
	"bytes"
	"crypto/tls"
	"errors"
	"math"
	"testing"
)

var allSuites = []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256}

// pair returns both ends of a direction.
func pair(t testing.TB, suite uint16) (*Writer, *Reader) {
	t.Helper()
	s, _ := suiteOf(suite)
	secret := bytes.Repeat([]byte{7}, s.secret)
	w, errW := NewWriter(suite, secret, 0)
	r, errR := NewReader(suite, secret)
	if err := errors.Join(errW, errR); err != nil {
		t.Fatal(err)
	}
	return w, r
}

// sealed returns a record of any content, type and padding.
func (w *Writer) sealed(t testing.TB, content []byte, kind byte, padding int) []byte {
	t.Helper()
	dst := append(append([]byte{}, header[:]...), content...)
	dst = append(dst, kind)
	dst, err := w.seal(append(dst, make([]byte, padding)...), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return dst
}

// TestRules has a rule of RFC 8446 in each row: records that a peer sends, and how the last one ends. A zero in a
// padded record is the last byte that seal adds.
func TestRules(t *testing.T) {
	type record struct {
		content string
		kind    byte
		padding int
	}
	const update, request = "\x18\x00\x00\x01\x00", "\x18\x00\x00\x01\x01"
	big := string(make([]byte, maxPlain))
	for _, c := range []struct {
		name    string
		records []record
		kind    Kind
		alert   Alert // of the Error; CloseNotify means none
		peer    Alert // of the PeerError
	}{
		{name: "§5.2 data", records: []record{{"hi", typeData, 0}}, kind: Data},
		{name: "§5.4 padding", records: []record{{"hi", typeData, 200}}, kind: Data},
		{name: "§5.1 empty data", records: []record{{"", typeData, 0}}, kind: Data},
		{name: "§5.1 16 KiB", records: []record{{big, typeData, -1}}, kind: Data},
		{name: "§5.2 one more with padding", records: []record{{big, typeData, 1}}, alert: RecordOverflow},
		{name: "§5.4 no type", records: []record{{"\x00\x00", 0, 0}}, alert: UnexpectedMessage},
		{name: "§5.1 change_cipher_spec", records: []record{{"\x01", typeChangeCipherSpec, 0}}, alert: UnexpectedMessage},
		{name: "§5.1 unknown type", records: []record{{"x", 99, 0}}, alert: UnexpectedMessage},
		{name: "§6.1 close_notify", records: []record{{"\x01\x00", typeAlert, 0}}, kind: Closed},
		{name: "§6 its level means nothing", records: []record{{"\x02\x00", typeAlert, 0}}, kind: Closed},
		{name: "§6.1 user_canceled", records: []record{{"\x01\x5a", typeAlert, 0}}, kind: Nothing},
		{name: "§6.2 fatal", records: []record{{"\x02\x14", typeAlert, 0}}, peer: BadRecordMAC},
		{name: "§6.2 fatal, whatever its level", records: []record{{"\x01\x14", typeAlert, 0}}, peer: BadRecordMAC},
		{name: "§5.1 half an alert", records: []record{{"\x02", typeAlert, 0}}, alert: DecodeError},
		{name: "§5.1 two alerts", records: []record{{"\x01\x00\x01\x00", typeAlert, 0}}, alert: DecodeError},
		{name: "§5.4 empty alert", records: []record{{"", typeAlert, 0}}, alert: UnexpectedMessage},
		{name: "§4.6.3 KeyUpdate", records: []record{{update, typeHandshake, 0}}, kind: Updated},
		{name: "§4.6.3 KeyUpdate with request", records: []record{{request, typeHandshake, 0}}, kind: Requested},
		{name: "§4.6.3 unknown request", records: []record{{update[:4] + "\x02", typeHandshake, 0}}, alert: IllegalParameter},
		{name: "§4.6.3 wrong length", records: []record{{"\x18\x00\x00\x02\x00", typeHandshake, 0}}, alert: DecodeError},
		{name: "§4.6.3 long", records: []record{{"\x18\x00\x01\x01\x00", typeHandshake, 0}}, alert: DecodeError},
		{name: "§4.6.3 longer", records: []record{{"\x18\x01\x00\x01\x00", typeHandshake, 0}}, alert: DecodeError},
		{name: "§5.1 KeyUpdate in two records", records: []record{
			{update[:2], typeHandshake, 0}, {update[2:], typeHandshake, 0},
		}, kind: Updated},
		{name: "§5.1 data amidst a message", records: []record{
			{update[:2], typeHandshake, 0}, {"hi", typeData, 0},
		}, alert: UnexpectedMessage},
		{name: "§5.1 an alert amidst a message", records: []record{
			{update[:2], typeHandshake, 0}, {"\x01\x00", typeAlert, 0},
		}, alert: UnexpectedMessage},
		{name: "§5.1 KeyUpdate does not end its record", records: []record{
			{update + update, typeHandshake, 0},
		}, alert: UnexpectedMessage},
		{name: "§5.1 nor the second part", records: []record{
			{update[:2], typeHandshake, 0}, {update[2:] + "\x18", typeHandshake, 0},
		}, alert: UnexpectedMessage},
		{name: "§5.1 empty handshake", records: []record{{"", typeHandshake, 0}}, alert: UnexpectedMessage},
		{name: "§4.6.1 NewSessionTicket of a client", records: []record{
			{"\x04\x00\x00\x00", typeHandshake, 0},
		}, alert: UnexpectedMessage},
		{name: "§4.1.2 renegotiation", records: []record{{"\x01\x00\x00\x00", typeHandshake, 0}}, alert: UnexpectedMessage},
	} {
		for _, suite := range allSuites {
			w, r := pair(t, suite)
			var kind Kind
			var err error
			for _, one := range c.records {
				if err != nil {
					t.Fatalf("%s: too early: %v", c.name, err)
				}
				content := []byte(one.content)
				b := w.sealed(t, content, one.kind, max(one.padding, 0))
				if one.padding < 0 { // without the zero
					w.seq--
					b, err = w.seal(append(append([]byte{}, header[:]...), content...), 0, one.kind)
					if err != nil {
						t.Fatal(err)
					}
				}
				if n, err := Length(b); err != nil || n != len(b) {
					t.Fatalf("%s: length %d, %v", c.name, n, err)
				}
				_, kind, err = r.Open(nil, b)
			}
			var bad Error
			var peer PeerError
			switch {
			case c.alert != 0 && (!errors.As(err, &bad) || bad.Alert != c.alert):
				t.Errorf("%s: got %v, want alert %d", c.name, err, c.alert)
			case c.peer != 0 && (!errors.As(err, &peer) || peer.Alert != c.peer):
				t.Errorf("%s: got %v, want the peer's alert %d", c.name, err, c.peer)
			case c.alert == 0 && c.peer == 0 && (err != nil || kind != c.kind):
				t.Errorf("%s: got %v, %v, want %v", c.name, kind, err, c.kind)
			}
			if err != nil || kind == Closed {
				if _, _, again := r.Open(nil, w.sealed(t, nil, typeData, 0)); !errors.Is(again, errClosed) {
					t.Errorf("%s: after the end: %v", c.name, again)
				}
			}
		}
	}
}

// TestHeaders has headers that cannot begin a record, or a record of another length. RFC 8446 §5.1 and §5.2.
func TestHeaders(t *testing.T) {
	for _, c := range []struct {
		head  string
		n     int
		alert Alert
	}{
		{"", 0, 0},
		{"\x17\x03\x03\x00", 0, 0},
		{"\x17\x03\x03\x00\x20", 37, 0},
		{"\x17\x00\x00\x00\x20", 37, 0}, // legacy_record_version is ignored
		{"\x17\x03\x03\x41\x00", 5 + maxCipher, 0},
		{"\x17\x03\x03\x41\x01", 0, RecordOverflow},
		{"\x15\x03\x03\x00\x02", 0, UnexpectedMessage}, // an alert that is not encrypted
		{"\x14\x03\x03\x00\x01", 0, UnexpectedMessage},
		{"\x16", 0, UnexpectedMessage}, // a new handshake
		{"G", 0, UnexpectedMessage},
	} {
		n, err := Length([]byte(c.head))
		bad, _ := errors.AsType[Error](err)
		if n != c.n || bad.Alert != c.alert {
			t.Errorf("%q: got %d, %v", c.head, n, err)
		}
	}
}

// TestForgeries: what was changed, replayed, reordered, left out or cut off is refused. RFC 8446 §5.2, §5.3.
func TestForgeries(t *testing.T) {
	for _, suite := range allSuites {
		w, _ := pair(t, suite)
		first, second := w.sealed(t, []byte("one"), typeData, 0), w.sealed(t, []byte("two"), typeData, 0)
		for at := range first {
			changed := bytes.Clone(first)
			changed[at] ^= 1
			if n, err := Length(changed); err != nil || n != len(changed) {
				continue // refused before, or another length
			}
			expectMAC(t, suite, "changed", changed)
		}
		expectMAC(t, suite, "replayed", first, first)
		expectMAC(t, suite, "reordered", second)
		expectMAC(t, suite, "left out", second)
		for size := range HeaderSize + 17 {
			short := bytes.Clone(first[:size])
			if size >= HeaderSize {
				short[3], short[4] = 0, byte(size-HeaderSize)
				expectMAC(t, suite, "cut off", short)
			}
		}
	}
}

func expectMAC(t *testing.T, suite uint16, what string, records ...[]byte) {
	t.Helper()
	_, r := pair(t, suite)
	for i, b := range records {
		got, _, err := r.Open(nil, b)
		if i < len(records)-1 {
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			continue
		}
		if bad, _ := errors.AsType[Error](err); bad.Alert != BadRecordMAC || len(got) > 0 {
			t.Errorf("%s: got %q, %v", what, got, err)
		}
	}
}

// TestKeyUpdates: both ends change their keys, by themselves when it is due, and on request.
func TestKeyUpdates(t *testing.T) {
	for _, suite := range allSuites {
		w, r := pair(t, suite)
		before := w.secret
		w.seq, r.seq = mostRecords-1, mostRecords-1
		b, n, err := w.Append(nil, [][]byte{make([]byte, maxPlain), []byte("after")}, math.MaxInt)
		if err != nil || n != maxPlain+5 {
			t.Fatalf("took %d, %v", n, err)
		}
		var got []byte
		var kinds []Kind
		for len(b) > 0 {
			size, err := Length(b)
			if err != nil {
				t.Fatal(err)
			}
			var kind Kind
			if got, kind, err = r.Open(got, b[:size]); err != nil {
				t.Fatal(err)
			}
			kinds, b = append(kinds, kind), b[size:]
		}
		if len(kinds) != 3 || kinds[1] != Updated || len(got) != n || string(got[maxPlain:]) != "after" {
			t.Errorf("got %d bytes, %v", len(got), kinds)
		}
		if w.secret == before || w.secret != r.secret || w.seq != 1 || r.seq != 1 {
			t.Error("the keys are not those that follow")
		}
	}
}

// TestUpdateFlood: a peer that only changes its keys is cut off, and one that also sends data is not.
func TestUpdateFlood(t *testing.T) {
	w, r := pair(t, allSuites[0])
	for i := range 10 * maxCredit {
		b, err := w.AppendKeyUpdate(nil, true)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err = r.Open(nil, b); err != nil {
			if i < maxCredit {
				t.Errorf("cut off after %d", i)
			}
			break
		}
		if i == 10*maxCredit-1 {
			t.Error("not cut off")
		}
	}
	w, r = pair(t, allSuites[0])
	for i := range 3 * maxCredit { // one data record between two updates
		b, _ := w.AppendKeyUpdate(nil, true)
		_, _, err := r.Open(nil, b)
		if err == nil {
			_, _, err = r.Open(nil, w.sealed(t, []byte("x"), typeData, 0))
		}
		if (err != nil) != (i >= maxCredit) {
			t.Fatalf("update %d: %v", i, err)
		}
		if err != nil {
			break
		}
	}
	w, r = pair(t, allSuites[0])
	for i := range 3 * maxCredit { // enough data
		b, _ := w.AppendKeyUpdate(nil, true)
		if _, _, err := r.Open(nil, b); err != nil {
			t.Fatalf("update %d: %v", i, err)
		}
		for range dataPerUpdate {
			if _, _, err := r.Open(nil, w.sealed(t, []byte("x"), typeData, 0)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestUselessRecords: a peer that sends nothing in many records is cut off.
func TestUselessRecords(t *testing.T) {
	w, r := pair(t, allSuites[0])
	for i := range maxUseless + 1 {
		_, _, err := r.Open(nil, w.sealed(t, nil, typeData, 100))
		if (err != nil) != (i == maxUseless) {
			t.Fatalf("record %d: %v", i, err)
		}
	}
}

// TestLastNumber: the sequence numbers end before they wrap. RFC 8446 §5.3.
func TestLastNumber(t *testing.T) {
	w, r := pair(t, allSuites[2])
	w.seq, r.seq = math.MaxUint64, math.MaxUint64
	if _, err := w.seal(append([]byte{}, header[:]...), 0, typeData); !errors.Is(err, errSequence) {
		t.Errorf("sealed: %v", err)
	}
	if _, _, err := r.Open(nil, make([]byte, 100)); !errors.Is(err, errSequence) {
		t.Errorf("opened: %v", err)
	}
}

// TestState: a state at the end of any record continues, also within a handshake message.
func TestState(t *testing.T) {
	for _, suite := range allSuites {
		w, r := pair(t, suite)
		for i, b := range [][]byte{
			w.sealed(t, []byte("a"), typeData, 0), w.sealed(t, []byte("\x18\x00"), typeHandshake, 0),
			w.sealed(t, []byte("\x00\x01\x00"), typeHandshake, 0),
		} {
			if _, _, err := r.Open(nil, b); err != nil {
				t.Fatalf("%d: %v", i, err)
			}
			state := r.AppendState(nil)
			next, err := ParseReader(state)
			if err != nil || len(state) > MaxState || !next.Equal(&r.half) || next.part != r.part || next.parts != r.parts {
				t.Fatalf("%d: %v", i, err)
			}
			r = next
			for cut := range state {
				if _, err := ParseReader(state[:cut]); err == nil {
					t.Errorf("%d of %d bytes are a state", cut, len(state))
				}
			}
		}
		if err := w.next(); err != nil {
			t.Fatal(err)
		}
		if w, err := ParseWriter(w.AppendState(nil)); err != nil || !w.Equal(&r.half) {
			t.Fatalf("a writer: %v", err)
		}
		_, _ = w.AppendAlert(nil, CloseNotify)
		if w, err := ParseWriter(w.AppendState(nil)); err != nil || !w.closed {
			t.Errorf("a closed writer: %v", err)
		}
	}
}

// TestRest: a direction goes on after its cipher was dropped, at any record, also after its keys have changed.
func TestRest(t *testing.T) {
	for _, suite := range allSuites {
		w, r := pair(t, suite)
		for i := range 10 {
			changed := i%4 == 2
			if changed {
				if err := errors.Join(w.next(), r.next()); err != nil {
					t.Fatal(err)
				}
			}
			if i%2 == 0 {
				w.Rest()
			}
			if i%3 == 0 {
				r.Rest()
			}
			if in, out := i%3 == 0 || changed, i%2 == 0; w.Rests() != out || r.Rests() != in {
				t.Fatalf("record %d: rests %v, %v, want %v, %v", i, w.Rests(), r.Rests(), out, in)
			}
			got, _, err := r.Open(nil, w.sealed(t, []byte{byte(i)}, typeData, 0))
			if err != nil || !bytes.Equal(got, []byte{byte(i)}) {
				t.Fatalf("record %d: got %x, %v", i, got, err)
			}
		}
	}
}

// TestErasedStays: nothing is sealed or opened with keys of an erased secret, which everybody knows.
func TestErasedStays(t *testing.T) {
	w, r := pair(t, allSuites[0])
	record := w.sealed(t, []byte("x"), typeData, 0)
	w.Erase()
	r.Erase()
	if b, _, err := w.Append(nil, [][]byte{{1}}, 1); !errors.Is(err, errClosed) || len(b) > 0 {
		t.Errorf("sealed %x, %v", b, err)
	}
	if w.Sent(record) {
		t.Error("counted a record")
	}
	if _, _, err := r.Open(nil, record); !errors.Is(err, errClosed) {
		t.Errorf("opened: %v", err)
	}
	if _, err := w.sealRecord(nil, record, nil); !errors.Is(err, errClosed) {
		t.Errorf("a cipher of nothing: %v", err)
	}
}

// TestErase: nothing of the secrets is left.
func TestErase(t *testing.T) {
	w, _ := pair(t, allSuites[0])
	w.Erase()
	if w.secret != [maxSecret]byte{} || w.iv != [nonceSize]byte{} || w.aead != nil {
		t.Error("secrets are left")
	}
}

// TestNoAllocations: nothing on the way of data allocates.
func TestNoAllocations(t *testing.T) {
	for _, suite := range allSuites[:2] {
		w, r := pair(t, suite)
		parts := [][]byte{[]byte("hello"), []byte("world")}
		buf, out := make([]byte, 0, MaxRecord), make([]byte, 0, MaxRecord)
		if n := testing.AllocsPerRun(100, func() {
			b, _, err := w.Append(buf, parts, maxPlain)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := r.Open(out, b); err != nil {
				t.Fatal(err)
			}
		}); n > 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

// TestSent: a Writer counts its next record that another has sealed, such as the tickets of a handshake, and no other.
func TestSent(t *testing.T) {
	for _, suite := range allSuites {
		other, _ := pair(t, suite)
		w, _ := pair(t, suite)
		first, second := other.sealed(t, []byte("one"), typeHandshake, 0), other.sealed(t, []byte("two"), typeHandshake, 0)
		plain := bytes.Clone(first)
		plain[0] = typeHandshake
		for i, c := range []struct {
			record []byte
			next   uint64
		}{{plain, 0}, {nil, 0}, {header[:], 0}, {second, 0}, {first, 1}, {first, 1}, {second, 2}} {
			before := w.seq
			if counted := w.Sent(c.record); w.seq != c.next || counted != (w.seq > before) {
				t.Errorf("%d: %v, the next number is %d, want %d", i, counted, w.seq, c.next)
			}
		}
		if w.seq = math.MaxUint64; w.Sent(first) || w.seq != math.MaxUint64 {
			t.Error("counted beyond the last number")
		}
	}
}

// TestStateLimits: each counter of a Reader's state has its largest value, and one more is refused.
func TestStateLimits(t *testing.T) {
	_, r := pair(t, allSuites[0])
	good := r.AppendState(nil)
	for _, c := range []struct {
		name string
		at   int
		most byte
	}{
		{"version", 0, stateVersion}, {"flags", 11, flagClosed}, {"useless", 12, maxUseless}, {"credit", 13, maxCredit},
		{"fed", 14, dataPerUpdate - 1}, {"parts", 15, KeyUpdateSize - 1},
	} {
		for over, want := range []bool{true, false} {
			b := bytes.Clone(good)
			b[16] = keyUpdate
			b[c.at] = c.most + byte(over)
			if _, err := ParseReader(b); (err == nil) != want {
				t.Errorf("%s of %d: %v", c.name, b[c.at], err)
			}
		}
	}
	b := bytes.Clone(good)
	b[15], b[16] = 1, keyUpdate+1
	if _, err := ParseReader(b); !errors.Is(err, errState) {
		t.Errorf("a part of another message: %v", err)
	}
	if _, err := ParseReader(good[:stateHeader]); !errors.Is(err, errSecret) {
		t.Errorf("no secret: %v", err)
	}
}

// TestEqual: halves are equal if their suites, secrets and numbers are.
func TestEqual(t *testing.T) {
	w, r := pair(t, allSuites[0])
	for what, change := range map[string]func(h *half){
		"suite": func(h *half) { h.suite++ }, "secret": func(h *half) { h.secret[0] ^= 1 }, "number": func(h *half) { h.seq++ },
	} {
		other := r.half
		if !w.Equal(&other) {
			t.Fatal("they differ at first")
		}
		if change(&other); w.Equal(&other) {
			t.Errorf("another %s: equal", what)
		}
	}
}
