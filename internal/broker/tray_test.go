package broker_test

// tray is a Link that keeps what it is given until a test takes it. One goroutine.
type tray struct {
	held []byte
	err  error // what Send says
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
