package artillery

import (
	"github.com/expedite-go/expedite/internal/loadtest"
)

// send compiles a step that sends a message and, with capture or match, waits for the next message from the server.
func (f *flow) send(n *node) ([]loadtest.Step, error) {
	step := loadtest.Send{}
	payload := n
	if n.get("capture") != nil || n.get("match") != nil {
		if err := n.known("payload", "capture", "match"); err != nil {
			return nil, err
		}
		if payload = n.get("payload"); payload == nil {
			return nil, n.fault("waiting without sending is not supported: want payload")
		}
		reply, err := f.answer(n)
		if err != nil {
			return nil, err
		}
		step.Reply = reply
	} else if len(n.fields) == 1 && n.get("payload") != nil {
		f.c.warn(n, "without capture or match, artillery sends the whole object and not its payload")
	}
	var err error
	step.Payload, err = f.payload(payload)
	return []loadtest.Step{step}, err
}

// payload compiles a message. Text is sent unchanged, anything else as JSON.
func (f *flow) payload(n *node) (loadtest.Template, error) {
	if n.kind == text {
		t, err := f.names.parse(n, n.text)
		if err != nil {
			return nil, err
		}
		return t.loadtest(), nil
	}
	j := new(jsonTemplate)
	if err := j.compile(f.names, n); err != nil {
		return nil, err
	}
	if len(j.pieces) == 1 && j.pieces[0].t == nil {
		return loadtest.Text(j.pieces[0].lit), nil
	}
	return j, nil
}

// jsonTemplate is JSON with templates in its strings. A string that consists of one variable is replaced by the
// variable's value, which may have any type.
type jsonTemplate struct{ pieces []piece }

type piece struct {
	lit []byte // before t
	t   *template
}

// Append implements loadtest.Template.
func (j *jsonTemplate) Append(dst []byte, v *loadtest.Vars) ([]byte, error) {
	for _, p := range j.pieces {
		dst = append(dst, p.lit...)
		if p.t == nil {
			continue
		}
		x, err := p.t.value(v)
		if err != nil {
			return dst, err
		}
		dst = appendJSON(dst, x)
	}
	return dst, nil
}

var _ loadtest.Template = (*jsonTemplate)(nil)

// literal appends JSON that is the same for all users.
func (j *jsonTemplate) literal(b []byte) {
	if last := len(j.pieces) - 1; last >= 0 && j.pieces[last].t == nil {
		j.pieces[last].lit = append(j.pieces[last].lit, b...)
		return
	}
	j.pieces = append(j.pieces, piece{lit: b})
}

// text appends a string. If the string consists of one variable and is not a key, text appends the variable's value.
func (j *jsonTemplate) text(ns *names, n *node, s string, key bool) error {
	t, err := ns.parse(n, s)
	if err != nil {
		return err
	}
	t.whole = t.whole && !key
	if t.constant() {
		v, err := t.value(nil)
		j.literal(appendJSON(nil, v))
		return err
	}
	j.literal(nil)
	j.pieces[len(j.pieces)-1].t = t
	return nil
}

func (j *jsonTemplate) compile(ns *names, n *node) error {
	switch n.kind {
	case text:
		return j.text(ns, n, n.text, false)
	case list:
		j.literal([]byte{'['})
		for i, item := range n.items {
			if i > 0 {
				j.literal([]byte{','})
			}
			if err := j.compile(ns, item); err != nil {
				return err
			}
		}
		j.literal([]byte{']'})
		return nil
	case object:
		j.literal([]byte{'{'})
		for i, f := range n.scripted() {
			if i > 0 {
				j.literal([]byte{','})
			}
			if err := j.text(ns, f.value, f.key, true); err != nil {
				return err
			}
			j.literal([]byte{':'})
			if err := j.compile(ns, f.value); err != nil {
				return err
			}
		}
		j.literal([]byte{'}'})
		return nil
	}
	j.literal(appendJSON(nil, n.value()))
	return nil
}
