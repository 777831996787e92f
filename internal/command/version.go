package command

import "fmt"

// versionCmd implements `expedite version`.
type versionCmd struct {
	JSON bool `help:"Print JSON." name:"json"`
}

// Help returns the text of `expedite version --help`.
func (versionCmd) Help() string {
	return `Examples:
  expedite version
  expedite version --json | jq -r .version`
}

// Run prints what is known of the program.
func (v *versionCmd) Run(c *Console) error {
	b := c.program.build()
	if v.JSON {
		return PrintJSON(c.Out, b)
	}
	_, err := fmt.Fprintln(c.Out, b)
	return err
}
