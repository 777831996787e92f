package artillery

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"unicode/utf8"

	"github.com/expedite-go/expedite/internal/loadtest"
)

// Limits of a file with values.
const (
	maxPayload = 64 << 20  // bytes
	maxRows    = 1_000_000 // lines
)

// payload is a file of config.payload. Each user gets one row.
type payload struct {
	fields   []string
	rows     [][]any
	sequence bool
	// all is the variable that gets the whole file instead of a row.
	all   string
	table []any
}

func (p *payload) names() []string {
	if p.all != "" {
		return []string{p.all}
	}
	return p.fields
}

// begin sets the variables of one row: the next one, or a random one. In artillery, each worker process iterates over
// its own share of the file. Here users get all rows in the order of arrival, no matter in which process they run.
func (p *payload) begin(user int, used map[string]bool, v *loadtest.Vars) {
	switch {
	case p.all != "":
		if used[p.all] {
			v.Set(p.all, p.table)
		}
		return
	case len(p.rows) == 0:
		return
	}
	row := p.rows[rand.IntN(len(p.rows))]
	if p.sequence {
		row = p.rows[user%len(p.rows)]
	}
	for i, name := range p.fields {
		if i < len(row) && used[name] {
			v.Set(name, row[i])
		}
	}
}

var _ source = (*payload)(nil)

// payloads compiles config.payload, which is one file or several.
func (c *compiler) payloads(n *node) (sources []source, err error) {
	if n == nil || n.kind == null {
		return nil, nil
	}
	for _, n := range n.listed() {
		p, err := c.payload(n)
		if err != nil {
			return nil, err
		}
		sources = append(sources, p)
	}
	return sources, nil
}

func (c *compiler) payload(n *node) (*payload, error) {
	err := n.known("path", "fields", "order", "skipHeader", "delimiter", "cast", "skipEmptyLines", "loadAll", "name")
	if err != nil {
		return nil, err
	}
	p := new(payload)
	for _, f := range n.get("fields").listed() {
		name, err := c.config.fixedText(f)
		if err != nil {
			return nil, err
		}
		p.fields = append(p.fields, name)
	}
	if order := n.get("order"); order != nil {
		if order.text != "sequence" && order.text != "random" {
			return nil, order.fault("want sequence or random")
		}
		p.sequence = order.text == "sequence"
	}
	if n.get("loadAll").truthy() {
		if name := n.get("name"); name == nil || name.kind != text || name.text == "" {
			return nil, n.fault("loadAll wants a name for the variable that gets the file")
		}
		p.all = n.get("name").text
	} else if len(p.fields) == 0 {
		return nil, n.fault("want fields: the names of the columns")
	}
	path := n.get("path")
	if path == nil {
		return nil, n.fault("want path: the file with the values")
	}
	name, err := c.config.fixedText(path)
	if err != nil {
		return nil, err
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(c.file), name)
	}
	if err := p.read(n, name); err != nil {
		return nil, err
	}
	p.tabulate()
	return p, nil
}

// read reads the file.
func (p *payload) read(n *node, name string) error {
	b, err := readFile(name, maxPayload)
	if err != nil {
		return n.get("path").fault("%s", err)
	}
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	r := csv.NewReader(bytes.NewReader(b))
	r.FieldsPerRecord = -1
	if d := n.get("delimiter"); d != nil {
		comma, size := utf8.DecodeRuneInString(d.text)
		if d.kind != text || size != len(d.text) || comma == '"' || comma == '\n' || comma == '\r' || size == 0 {
			return d.fault("want one character")
		}
		r.Comma = comma
	}
	cast := n.get("cast") == nil || n.get("cast").truthy()
	for line := 0; ; line++ {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return n.get("path").fault("%s: %s", name, err)
		}
		if line == 0 && n.get("skipHeader").truthy() {
			continue
		}
		if len(p.rows) >= maxRows {
			return n.get("path").fault("%s has more than %d lines", name, maxRows)
		}
		p.rows = append(p.rows, castAll(record, cast))
	}
	if len(p.rows) == 0 {
		return n.get("path").fault("%s has no lines with values", name)
	}
	return nil
}

// castAll converts values that look like numbers, which artillery does by default.
func castAll(record []string, cast bool) []any {
	row := make([]any, len(record))
	for i, s := range record {
		row[i] = s
		if f, err := strconv.ParseFloat(s, 64); err == nil && cast {
			if _, plain := toNumber(s); plain {
				row[i] = f
			}
		}
	}
	return row
}

// tabulate converts the rows to the value of loadAll: objects if the columns have names, lists otherwise.
func (p *payload) tabulate() {
	if p.all == "" {
		return
	}
	for _, row := range p.rows {
		if len(p.fields) == 0 {
			p.table = append(p.table, row)
			continue
		}
		o := make(map[string]any, len(p.fields))
		for i, name := range p.fields {
			if i < len(row) {
				o[name] = row[i]
			}
		}
		p.table = append(p.table, o)
	}
	p.rows = nil
}

// readFile reads a file and fails if it is too long.
func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, errors.New(name + " is longer than " + strconv.FormatInt(limit>>20, 10) + " MiB")
	}
	return b, nil
}
