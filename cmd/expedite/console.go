package main

import (
	"encoding/json"
	"fmt"
	"io"
)

// console has the outputs of a command.
type console struct{ out, err io.Writer }

// warn prints what a user should know beside the output.
func (c *console) warn(warnings []string) {
	for _, w := range warnings {
		fmt.Fprintln(c.err, "expedite: warning:", w)
	}
}

// printJSON writes the output of a command for programs.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
