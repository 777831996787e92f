package tlsrecord

// Reader opens the records of one direction.
type Reader struct {
	half
	part    [KeyUpdateSize - 1]byte // of a KeyUpdate in several records, without its type
	parts   uint8                   // bytes of it that have come, with its type
	useless uint8                   // records in a row without data
	credit  uint8                   // KeyUpdates that the peer may send before it has sent more data
	fed     uint8                   // records with data since credit has grown
}

const (
	// maxUseless is how many records without data may follow one another, as in crypto/tls: they cost the peer little.
	maxUseless = 16
	// A peer may change its keys maxCredit times, and once more for every dataPerUpdate records with data. Whoever
	// follows RFC 8446 §5.5 does so every 2^24 records.
	maxCredit     = 16
	dataPerUpdate = 64
)

// NewReader returns a Reader that continues with the traffic secret of a handshake.
func NewReader(suite uint16, secret []byte) (*Reader, error) {
	r := &Reader{credit: maxCredit}
	if err := r.startReady(suite, secret, 0); err != nil {
		return nil, err
	}
	return r, nil
}

// Kind is what a record contains.
type Kind uint8

// The kinds.
const (
	Data      Kind = iota // application data, possibly none
	Updated               // the peer has changed its keys
	Requested             // the peer has changed its keys, and wants a KeyUpdate
	Closed                // the peer will send nothing more
	Nothing               // nothing to act on
)

// Length returns the length of the record with which b begins, or 0 if b is too short to tell. An error means that b
// cannot begin a record. RFC 8446 §5.1.
func Length(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if b[0] != typeData { // everything is encrypted by now; legacy_record_version means nothing
		return 0, Error{UnexpectedMessage, "a record that is not encrypted"}
	}
	if len(b) < HeaderSize {
		return 0, nil
	}
	n := int(b[3])<<8 | int(b[4])
	if n > maxCipher {
		return 0, Error{RecordOverflow, "a record is too long"}
	}
	return HeaderSize + n, nil
}

// Open decrypts a record, as long as Length has told. It appends application data to dst, which must have room for the
// record without its header, so that it need not grow, and overlap the record not at all or begin with it behind its
// header. After an error nothing more can be read.
func (r *Reader) Open(dst, record []byte) ([]byte, Kind, error) {
	if r.closed {
		return dst, 0, errClosed
	}
	out, kind, err := r.open(dst, record)
	if err != nil || kind == Closed {
		r.closed = true
	}
	return out, kind, err
}

func (r *Reader) open(dst, record []byte) ([]byte, Kind, error) {
	plain, err := r.openRecord(dst, record[HeaderSize:], record[:HeaderSize])
	if err != nil {
		return dst, 0, err
	}
	inner := plain[len(dst):]
	if len(inner) > maxPlain+1 { // RFC 8446 §5.2: with the type and padding
		return dst, 0, Error{RecordOverflow, "the content of a record is too long"}
	}
	end := len(inner) // RFC 8446 §5.4: zeros follow the type
	for end > 0 && inner[end-1] == 0 {
		end--
	}
	if end == 0 {
		return dst, 0, Error{UnexpectedMessage, "a record without a type"}
	}
	kind, content := inner[end-1], inner[:end-1]
	if r.parts > 0 && kind != typeHandshake { // RFC 8446 §5.1: messages in parts are not interleaved
		return dst, 0, Error{UnexpectedMessage, "a record amidst a handshake message"}
	}
	switch kind {
	case typeData:
		if len(content) == 0 {
			return dst, Data, r.count()
		}
		r.useless = 0
		if r.fed++; r.fed == dataPerUpdate {
			r.fed, r.credit = 0, min(r.credit+1, maxCredit)
		}
		return plain[:len(dst)+len(content)], Data, nil
	case typeAlert:
		kind, err := r.alert(content)
		return dst, kind, err
	case typeHandshake:
		kind, err := r.handshake(content)
		return dst, kind, err
	default: // also change_cipher_spec, which belongs to the handshake
		return dst, 0, Error{UnexpectedMessage, "a record of an unknown type"}
	}
}

// count counts a record without data.
func (r *Reader) count() error {
	if r.useless == maxUseless {
		return Error{UnexpectedMessage, "too many records without data"}
	}
	r.useless++
	return nil
}

// alert handles an alert, which is one record of two bytes. RFC 8446 §5.1, §5.4 and §6.
func (r *Reader) alert(b []byte) (Kind, error) {
	if len(b) == 0 { // RFC 8446 §5.4
		return 0, Error{UnexpectedMessage, "an empty alert"}
	}
	if len(b) != 2 {
		return 0, Error{DecodeError, "an alert of a wrong length"}
	}
	switch a := Alert(b[1]); a { // the level means nothing
	case CloseNotify:
		return Closed, nil
	case userCanceled: // RFC 8446 §6.1: a close_notify follows
		return Nothing, r.count()
	default:
		return 0, PeerError{a}
	}
}

// The one handshake message that a client may send after the handshake. RFC 8446 §4.6.3.
const (
	keyUpdate     = 24
	KeyUpdateSize = 5 // type, length, request_update
)

// handshake handles a part of a handshake message, or all of it.
func (r *Reader) handshake(b []byte) (Kind, error) {
	if len(b) == 0 { // RFC 8446 §5.1
		return 0, Error{UnexpectedMessage, "an empty handshake record"}
	}
	if r.parts == 0 && b[0] != keyUpdate {
		return 0, Error{UnexpectedMessage, "a handshake message after the handshake"}
	}
	if len(b) > KeyUpdateSize-int(r.parts) { // RFC 8446 §5.1: it has to end its record, because the keys change
		return 0, Error{UnexpectedMessage, "a KeyUpdate that does not end its record"}
	}
	if r.parts == 0 {
		r.parts, b = 1, b[1:]
	}
	r.parts += uint8(copy(r.part[r.parts-1:], b))
	if r.parts < KeyUpdateSize {
		return Nothing, r.count()
	}
	r.parts = 0
	if [3]byte(r.part[:]) != [3]byte{0, 0, 1} {
		return 0, Error{DecodeError, "a KeyUpdate of a wrong length"}
	}
	request := r.part[3]
	if request > 1 {
		return 0, Error{IllegalParameter, "a KeyUpdate with an unknown request"}
	}
	if r.credit == 0 {
		return 0, Error{UnexpectedMessage, "too many KeyUpdates"}
	}
	r.credit--
	if err := r.count(); err != nil {
		return 0, err
	}
	return Updated + Kind(request), r.next()
}
