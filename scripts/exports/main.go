// Command exports prints how many names the public packages of a checkout export: `go run ./scripts/exports [folder]`.
package main

import (
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/expedite-go/expedite/internal/tidy"
)

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	list, err := tidy.CountExports(root)
	if err != nil {
		fmt.Fprintln(os.Stderr, "exports:", err)
		os.Exit(1)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "package\tnames\tconsts\tvars\tfuncs\ttypes\tmethods\t(interface methods\tfields)\t")
	sum := tidy.Exports{Package: "sum"}
	for _, e := range list {
		printRow(w, e)
		sum.Consts += e.Consts
		sum.Vars += e.Vars
		sum.Funcs += e.Funcs
		sum.Types += e.Types
		sum.Methods += e.Methods
		sum.InterfaceMethods += e.InterfaceMethods
		sum.Fields += e.Fields
	}
	printRow(w, sum)
	w.Flush()
}

func printRow(w *tabwriter.Writer, e tidy.Exports) {
	fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n",
		e.Package, e.Names(), e.Consts, e.Vars, e.Funcs, e.Types, e.Methods, e.InterfaceMethods, e.Fields)
}
