package main

import (
	"fmt"
	"io"

	cli "github.com/expedite-go/expedite/internal/command"
	"github.com/expedite-go/expedite/internal/scaffold"
)

// newGroup adds new to the commands.
type newGroup struct {
	New newCmd `cmd:"" help:"Create a project of your own."`
}

// newCmd implements `expedite new`.
type newCmd struct {
	Dir      string `arg:"" help:"Folder of the project, which does not exist or is empty. Its name is the program's."`
	Template string `help:"What it is: ${enum}." enum:"chat,notifications,game,blank" default:"chat" env:"-"`
	Module   string `help:"Path of its Go module. Default: example.com/ and the name." placeholder:"PATH" env:"-"`
	Replace  string `help:"Use the checkout of Expedite in this folder, not a release." placeholder:"DIR" env:"-"`
}

// Help returns the text of `expedite new --help`.
func (newCmd) Help() string {
	return `The project is a program with handlers, a page, tests, and what it needs to be deployed. It builds at once.

Examples:
  expedite new chat
  expedite new ../game --template game --module github.com/me/game`
}

// Run creates the project.
func (n *newCmd) Run(stdout io.Writer) error {
	origin, err := scaffold.FindOrigin(n.Replace, cli.Version())
	if err != nil {
		return cli.Usage(err)
	}
	p, err := scaffold.New(scaffold.Options{Dir: n.Dir, Template: n.Template, Module: n.Module, Origin: origin})
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s is in %s. Next:\n  cd %s && make test    its tests, in milliseconds\n", p.Name, p.Dir, n.Dir)
	fmt.Fprintln(stdout, "  make run               and open http://localhost:8080")
	fmt.Fprintln(stdout, "  make reload            after a change of main.go: nobody is disconnected")
	return nil
}
