package broker_test

// tray is a Link that keeps messages until the test takes them. It is not safe for concurrent use.
type tray struct {
	held []byte
	err  error // the result of Send
}

func newTray() *tray { return &tray{} }

func (t *tray) Send(m []byte) error {
	if t.err != nil {
		return t.err
	}
	t.held = append(t.held, m...)
	return nil
}

// take empties the tray.
func (t *tray) take() []byte {
	m := t.held
	t.held = nil
	return m
}
