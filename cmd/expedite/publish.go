package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/expedite-go/expedite/internal/control"
)

// publishCmd is `expedite publish`.
type publishCmd struct {
	Control string `help:"Unix socket of the running server." placeholder:"PATH"`
	Topic   string `arg:"" help:"Whose subscribers get it." placeholder:"TOPIC"`
	Text    string `arg:"" help:"The message, or - for standard input without its last newline." placeholder:"TEXT"`
}

// Help is shown by `expedite publish --help`.
func (publishCmd) Help() string {
	return `All subscribers get the text as one message, in all workers and on all machines.

Examples:
  expedite publish lobby "back in five minutes"
  jq -n '{news: "hello"}' | expedite publish news -`
}

// maxInput is the longest message that a server takes this way, in bytes.
const maxInput = 1 << 20

// Run asks.
func (p *publishCmd) Run() error { return p.publish(os.Stdin) }

func (p *publishCmd) publish(stdin io.Reader) error {
	text := p.Text
	if text == "-" {
		b, err := io.ReadAll(io.LimitReader(stdin, maxInput+2))
		if err != nil {
			return fmt.Errorf("standard input: %w", err)
		}
		b = bytes.TrimSuffix(b, []byte("\n"))
		if len(b) > maxInput {
			return errors.New("standard input: want at most 1 MiB")
		}
		text = string(b)
	}
	_, err := operate(p.Control, func(ctx context.Context, to *control.Client) (struct{}, error) {
		return struct{}{}, to.Publish(ctx, control.PublishRequest{Topic: p.Topic, Text: text})
	})
	return err
}
