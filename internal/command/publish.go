package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/expedite-go/expedite/internal/control"
)

// publishCmd implements `expedite publish`.
type publishCmd struct {
	Control string `help:"Unix socket of the server. Default: ${control}." placeholder:"PATH"`
	Topic   string `arg:"" help:"Topic whose subscribers receive the message." placeholder:"TOPIC"`
	Text    string `arg:"" help:"Message; -: from standard input, without the last newline." placeholder:"TEXT"`
}

// Help returns the text of `expedite publish --help`.
func (publishCmd) Help() string {
	return `All subscribers receive the text as one message, in all workers and on all machines.

Examples:
  expedite publish lobby "back in five minutes"
  jq -n '{news: "hello"}' | expedite publish news -`
}

// maxInput is the longest message that a server accepts, in bytes.
const maxInput = 1 << 20

// Run publishes the message.
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
	_, err := request(p.Control, func(ctx context.Context, to *control.Client) (struct{}, error) {
		return struct{}{}, to.Publish(ctx, control.PublishRequest{Topic: p.Topic, Text: text})
	})
	return err
}
