package statedir

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"os"
	"path/filepath"
)

// A log is logHeader and then records: recordMark, length (4), CRC-32C of length and payload (4), payload. Numbers are
// little-endian.
const (
	logHeader  = "expedite log 1\n"
	recordMark = "\xe7\x0a"
	recordHead = len(recordMark) + 4 + 4
	// MaxRecord is the longest record in bytes.
	MaxRecord = 64 << 10
	// maxLog is the largest file that is read, in bytes.
	maxLog = 1 << 30
)

// Errors of a Log.
var (
	// ErrRecord says that a record is empty or longer than MaxRecord.
	ErrRecord = errors.New("statedir: bad record")
	// ErrFormat says that a file is no log, or one of a later version.
	ErrFormat = errors.New("statedir: not a log of a version that is known")
)

// Content is what a log held when it was opened.
type Content struct {
	Records [][]byte
	// Torn says that the last record was incomplete, as when the machine has lost its power: it never counted.
	Torn bool
	// Damaged is the number of places before the end where records could not be read. They are lost.
	Damaged int
}

// Log is an append-only file of records. One goroutine at a time.
type Log struct {
	path    string
	file    *os.File
	size    int64
	records int
}

// openLog opens a log and verifies all of it. What is torn is cut off; a damaged file is as it was until Rewrite.
func openLog(path string) (*Log, Content, error) {
	l := &Log{path: path}
	if left, err := filepath.Glob(path + newPattern); err == nil {
		for _, name := range left { // of a Rewrite that was cut off
			_ = os.Remove(name)
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, Content{}, fmt.Errorf("statedir: %w", err)
	}
	l.file = f
	c, err := l.load()
	if err != nil {
		return nil, Content{}, errors.Join(err, f.Close())
	}
	return l, c, nil
}

// load reads the file, and makes an empty or a torn one whole.
func (l *Log) load() (Content, error) {
	b, err := io.ReadAll(io.LimitReader(l.file, maxLog+1))
	switch {
	case err != nil:
		return Content{}, fmt.Errorf("statedir: %w", err)
	case len(b) > maxLog:
		return Content{}, fmt.Errorf("statedir: %s has more than %d bytes", l.path, maxLog)
	case len(b) < len(logHeader) && bytes.HasPrefix([]byte(logHeader), b): // new, or torn while it was
		return Content{Torn: len(b) > 0}, l.Rewrite(func(func([]byte) bool) {})
	}
	c, end, err := parseLog(b)
	if err != nil {
		return c, fmt.Errorf("%w: %s", err, l.path)
	}
	l.size, l.records = int64(end), len(c.Records)
	if c.Torn {
		if err := l.file.Truncate(l.size); err != nil {
			return c, fmt.Errorf("statedir: %w", err)
		}
	}
	return c, nil
}

// parseLog reads a file. end is behind the last record.
func parseLog(b []byte) (c Content, end int, err error) {
	if !bytes.HasPrefix(b, []byte(logHeader)) {
		return c, 0, ErrFormat
	}
	end = len(logHeader)
	for at := end; at < len(b); {
		payload, n := cutRecord(b[at:])
		if n > 0 {
			c.Records = append(c.Records, payload)
			at += n
			end = at
			continue
		}
		next := nextRecord(b, at+1)
		if next < 0 {
			c.Torn = true
			break
		}
		c.Damaged++
		at = next
	}
	return c, end, nil
}

// cutRecord reads the record that b begins with; n is 0 if there is none that is whole.
func cutRecord(b []byte) (payload []byte, n int) {
	if len(b) < recordHead || string(b[:len(recordMark)]) != recordMark {
		return nil, 0
	}
	head := b[len(recordMark):recordHead]
	size := binary.LittleEndian.Uint32(head)
	if size == 0 || size > MaxRecord || int(size) > len(b)-recordHead {
		return nil, 0
	}
	payload = b[recordHead : recordHead+int(size)]
	if checksum(head[:4], payload) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, 0
	}
	return payload, recordHead + int(size)
}

// nextRecord finds the next whole record from at on; -1 is none.
func nextRecord(b []byte, at int) int {
	for at < len(b) {
		i := bytes.Index(b[at:], []byte(recordMark))
		if i < 0 {
			return -1
		}
		if _, n := cutRecord(b[at+i:]); n > 0 {
			return at + i
		}
		at += i + 1
	}
	return -1
}

func checksum(size, payload []byte) uint32 {
	castagnoli := crc32.MakeTable(crc32.Castagnoli) // made once, over there
	return crc32.Update(crc32.Checksum(size, castagnoli), castagnoli, payload)
}

func appendRecord(dst, payload []byte) ([]byte, error) {
	if len(payload) == 0 || len(payload) > MaxRecord {
		return dst, fmt.Errorf("%w: %d bytes", ErrRecord, len(payload))
	}
	dst = append(dst, recordMark...)
	size := binary.LittleEndian.AppendUint32(nil, uint32(len(payload)))
	dst = append(dst, size...)
	dst = binary.LittleEndian.AppendUint32(dst, checksum(size, payload))
	return append(dst, payload...), nil
}

// Append writes records behind the others. When it returns nil they are on the disk; else none of them counts, and the
// log is as it was, or fails until Rewrite.
func (l *Log) Append(payloads ...[]byte) error {
	if l.file == nil {
		return fmt.Errorf("statedir: %s: %w", l.path, os.ErrClosed)
	}
	var b []byte
	var err error
	for _, p := range payloads {
		if b, err = appendRecord(b, p); err != nil {
			return err
		}
	}
	_, err = l.file.WriteAt(b, l.size)
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		_ = l.file.Truncate(l.size) // else the next start finds it torn
		return fmt.Errorf("statedir: %w", err)
	}
	l.size += int64(len(b))
	l.records += len(payloads)
	return nil
}

// Rewrite replaces all records, by a new file in the place of the old one: whatever happens meanwhile, one of the two
// is there, whole.
func (l *Log) Rewrite(payloads iter.Seq[[]byte]) error {
	f, err := os.CreateTemp(filepath.Dir(l.path), filepath.Base(l.path)+newPattern) // with mode 0600
	if err != nil {
		return fmt.Errorf("statedir: %w", err)
	}
	size, records, err := writeAll(f, payloads)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(f.Name(), l.path)
	}
	if err != nil {
		return fmt.Errorf("statedir: %w", errors.Join(err, f.Close(), os.Remove(f.Name())))
	}
	if l.file != nil {
		_ = l.file.Close()
	}
	l.file, l.size, l.records = f, size, records
	return syncDir(filepath.Dir(l.path))
}

// newPattern is how a file is called, behind the log's name, before it takes the log's place.
const newPattern = ".*.new"

// writeAll writes a whole log.
func writeAll(f *os.File, payloads iter.Seq[[]byte]) (size int64, records int, err error) {
	w := bufio.NewWriterSize(f, 1<<20)
	n, _ := w.WriteString(logHeader) // Flush has its error, and those of the others
	size = int64(n)
	for p := range payloads {
		b, err := appendRecord(w.AvailableBuffer(), p)
		if err != nil {
			return 0, 0, err
		}
		_, _ = w.Write(b)
		size += int64(len(b))
		records++
	}
	return size, records, w.Flush()
}

// syncDir makes a rename last.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("statedir: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("statedir: %w", err)
	}
	return nil
}

// Records is the number of records in the file, those included that no longer matter.
func (l *Log) Records() int { return l.records }

// Close closes the file.
func (l *Log) Close() error { return l.file.Close() }
