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

// A log consists of logHeader and records. A record is recordMark, its length (4), the CRC-32C of length and payload
// (4), and the payload. Numbers are little-endian.
const (
	logHeader  = "expedite log 1\n"
	recordMark = "\xe7\x0a"
	recordHead = len(recordMark) + 4 + 4
	// MaxRecord is the longest record, in bytes.
	MaxRecord = 64 << 10
	// maxLog is the largest file that is read, in bytes.
	maxLog = 1 << 30
)

// Errors of a Log.
var (
	// ErrRecord is returned for a record that is empty or longer than MaxRecord.
	ErrRecord = errors.New("statedir: bad record")
	// ErrFormat is returned for a file that is not a log, or that is of a later version.
	ErrFormat = errors.New("statedir: not a log of a known version")
)

// Content is the content of a log when it was opened.
type Content struct {
	Records [][]byte
	// Torn is set if the last record was incomplete, for instance after a power failure. It does not count as written.
	Torn bool
	// Damaged is the number of places before the end of the file where records could not be read. Those records are
	// lost.
	Damaged int
}

// Log is an append-only file of records. It is not safe for concurrent use.
type Log struct {
	path    string
	file    *os.File
	size    int64
	records int
}

// openLog opens a log and verifies it. It truncates a torn file, and leaves a damaged one as it is until Rewrite.
func openLog(path string) (*Log, Content, error) {
	l := &Log{path: path}
	if left, err := filepath.Glob(path + newPattern); err == nil {
		for _, name := range left { // from an interrupted Rewrite
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

// load reads the file. It initializes an empty one and truncates a torn one.
func (l *Log) load() (Content, error) {
	b, err := io.ReadAll(io.LimitReader(l.file, maxLog+1))
	switch {
	case err != nil:
		return Content{}, fmt.Errorf("statedir: %w", err)
	case len(b) > maxLog:
		return Content{}, fmt.Errorf("statedir: %s has more than %d bytes", l.path, maxLog)
	case len(b) < len(logHeader) && bytes.HasPrefix([]byte(logHeader), b): // new, or torn while it was being created
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

// parseLog parses a file. end is the offset after the last record.
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

// cutRecord returns the record at the beginning of b and its length n, which is 0 if there is no complete one.
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

// nextRecord returns the offset of the next complete record, beginning at at; -1 if there is none.
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
	castagnoli := crc32.MakeTable(crc32.Castagnoli) // MakeTable caches this table
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

// Append writes records at the end of the log. If it returns nil, they are on disk. Otherwise none of them counts,
// and the log is as it was before, or it fails until Rewrite.
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
		_ = l.file.Truncate(l.size) // otherwise the next start finds it torn
		return fmt.Errorf("statedir: %w", err)
	}
	l.size += int64(len(b))
	l.records += len(payloads)
	return nil
}

// Rewrite replaces all records. It writes a new file and renames it, so that at any time one of the two files exists
// and is complete.
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

// newPattern is the suffix of the name of a new file before it replaces the log.
const newPattern = ".*.new"

// writeAll writes a complete log.
func writeAll(f *os.File, payloads iter.Seq[[]byte]) (size int64, records int, err error) {
	w := bufio.NewWriterSize(f, 1<<20)
	n, _ := w.WriteString(logHeader) // Flush returns the first error of all writes
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

// syncDir makes a rename durable.
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

// Records returns the number of records in the file, including obsolete ones.
func (l *Log) Records() int { return l.records }

// Close closes the file.
func (l *Log) Close() error { return l.file.Close() }
