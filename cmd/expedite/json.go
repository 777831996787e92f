package main

import (
	"encoding/json"
	"io"
)

// printJSON writes what a command has found for programs.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
