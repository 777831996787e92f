package command

import (
	"encoding/json"
	"fmt"
	"io"
)

// Console has the outputs of a command.
type Console struct {
	Out, Err io.Writer
	program  *Program
}

// warn prints what a user should know beside the output.
func (c *Console) warn(warnings ...string) {
	for _, w := range warnings {
		fmt.Fprintf(c.Err, "%s: warning: %s\n", c.program.Name, w)
	}
}

// PrintJSON writes the output of a command for programs.
func PrintJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
