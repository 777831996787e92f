package main

import (
	"encoding/json"
	"io"
)

// console has the outputs of a command.
type console struct{ out, err io.Writer }

// printJSON writes the output of a command for programs.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
