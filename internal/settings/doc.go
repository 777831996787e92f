// Package settings is the schema of the settings of `expedite serve`: one table, of which each row is one setting. Its
// flag, its variable, its key in expedite.yaml, its line in the help, in the JSON Schema, in the printed configuration
// and on the reference page all come from that row, and so does the field of [Program] that it sets:
//
//	{Name: "max-queued", Help: "Bytes of send queues per worker, or off.", Auto: "a quarter of the heap",
//		to: limit(&p.Config.MaxQueued)},
//
// To add a setting, add a row to the table in table.go. The functions in value.go are the types that settings can have.
// They check the text, and their errors say what is wanted; [Load] adds where the text is.
package settings
