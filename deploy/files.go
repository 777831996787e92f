// Package deploy holds what a server needs to be deployed. `expedite new` puts it into projects, with their name.
package deploy

import "embed"

// Files are all files of the folder.
//
//go:embed *
var Files embed.FS
