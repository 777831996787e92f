package tlsrecord

import "crypto/subtle"

// Writer makes the records of one direction.
type Writer struct{ half }

// NewWriter returns a Writer that continues with the traffic secret of a handshake. seq is the number of records that
// were already sent with it: crypto/tls sends session tickets.
func NewWriter(suite uint16, secret []byte, seq uint64) (*Writer, error) {
	w := new(Writer)
	if err := w.startReady(suite, secret, seq); err != nil {
		return nil, err
	}
	return w, nil
}

// Append appends records of the bytes of parts to dst, at most limit bytes of them: each record has up to 16 KiB, the
// last one the rest. It returns how many bytes it has taken. No bytes make no record. Where one key has sealed as many
// records as it may, a KeyUpdate comes first. parts must not overlap dst.
func (w *Writer) Append(dst []byte, parts [][]byte, limit int) (out []byte, n int, err error) {
	off := 0 // of the first part
	for n < limit {
		for len(parts) > 0 && off == len(parts[0]) {
			parts, off = parts[1:], 0
		}
		if len(parts) == 0 {
			return dst, n, nil
		}
		if w.seq >= mostRecords {
			if dst, err = w.AppendKeyUpdate(dst, false); err != nil {
				return dst, n, err
			}
		}
		start := len(dst)
		dst = append(dst, header[:]...)
		for room := min(maxPlain, limit-n); room > 0 && len(parts) > 0; {
			b := parts[0][off:]
			b = b[:min(len(b), room)]
			dst = append(dst, b...)
			room, n, off = room-len(b), n+len(b), off+len(b)
			if off == len(parts[0]) {
				parts, off = parts[1:], 0
			}
		}
		if dst, err = w.seal(dst, start, typeData); err != nil {
			return dst, n, err
		}
	}
	return dst, n, nil
}

// AppendKeyUpdate appends a KeyUpdate, and seals what follows with new keys. With request, the peer has to answer it
// with one of its own. RFC 8446 §4.6.3.
func (w *Writer) AppendKeyUpdate(dst []byte, request bool) ([]byte, error) {
	message := [KeyUpdateSize]byte{keyUpdate, 0, 0, 1, 0}
	if request {
		message[4] = 1
	}
	start := len(dst)
	dst = append(append(dst, header[:]...), message[:]...)
	dst, err := w.seal(dst, start, typeHandshake)
	if err != nil {
		return dst, err
	}
	return dst, w.next()
}

// AppendAlert appends an alert, after which w refuses everything. RFC 8446 §6: all but close_notify are fatal.
func (w *Writer) AppendAlert(dst []byte, a Alert) ([]byte, error) {
	const warning, fatal = 1, 2
	level := byte(fatal)
	if a == CloseNotify {
		level = warning
	}
	start := len(dst)
	dst = append(append(dst, header[:]...), level, byte(a))
	dst, err := w.seal(dst, start, typeAlert)
	w.closed = true
	return dst, err
}

// Sent counts a record that another has sealed with the keys of w, if it was the next one, and reports that.
func (w *Writer) Sent(record []byte) bool {
	if len(record) <= HeaderSize || record[0] != typeData {
		return false
	}
	_, err := w.openRecord(nil, record[HeaderSize:], record[:HeaderSize])
	return err == nil
}

// header begins a record: opaque_type, legacy_record_version, and room for its length. RFC 8446 §5.2.
var header = [HeaderSize]byte{typeData, 3, 3}

// seal encrypts what dst contains behind the header at start, as one record. RFC 8446 §5.2.
func (w *Writer) seal(dst []byte, start int, kind byte) ([]byte, error) {
	if w.closed { // by an alert
		return dst[:start], errClosed
	}
	dst = append(dst, kind)
	body := start + HeaderSize
	size := len(dst) - body + tagSize
	dst[start+3], dst[start+4] = byte(size>>8), byte(size)
	out, err := w.sealRecord(dst[:body], dst[body:], dst[start:body])
	if err != nil {
		return dst[:start], err
	}
	return out, nil
}

// Equal reports whether w would seal the next record as other would, in constant time.
func (h *half) Equal(other *half) bool {
	return h.seq == other.seq && h.suite == other.suite &&
		subtle.ConstantTimeCompare(h.secret[:], other.secret[:]) == 1
}
