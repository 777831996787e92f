package artillery

import (
	"strings"
	"testing"
	"time"
)

// TestPrograms checks that a program runs without files, network and modules, and within its limits.
func TestPrograms(t *testing.T) {
	for _, tt := range []struct{ name, program, want string }{
		{"module.exports", "module.exports = { a: 1 }", `{"a":1}`},
		{"exports", "exports.a = [1, 'x', true, null, undefined]", `{"a":[1,"x",true,null,null]}`},
		{"undefined is not there", "exports.a = { b: undefined, c: 1 }", `{"a":{"c":1}}`},
		{"export default", "export default {\n a: 1 }", `{"a":1}`},
		{"export const", "export const a = 1\nexport let b = 2", `{"a":1,"b":2}`},
		{"export list", "const x = 1\nexport { x as a }", `{"a":1}`},
		{"the environment", "exports.a = process.env.ARTILLERY_TEST_SET", `{"a":"yes"}`},
		{"console is silent", "console.log('x'); console.error('y'); exports.a = 1", `{"a":1}`},
		{"nothing", "1", "a.js: the program exports nothing: want module.exports = { config, scenarios }"},
		{"a promise", "module.exports = Promise.resolve({})", "a.js: the program exports nothing: want module.exports = { config, scenarios }"},
		{"a function", "exports.a = { f() {} }", "a.js, a.f: functions are not supported: Node.js is not available"},
		{"a date", "exports.a = new Date()", "a.js, a: want a plain value, got a date"},
		{"not a number", "exports.a = 0 / 0", "a.js, a: want a number, got NaN"},
		{"itself", "exports.a = exports", "a.js, " + strings.Repeat("a.", 64) + "a: the script is nested more than 64 deep"},
		{"files", "\nconst fs = require('node:fs')", `a.js, line 2: TypeError: require("node:fs") is not supported: ` +
			"a script has no files, no network and no modules"},
		{"import", "// x\nimport fs from 'fs'", "a.js, line 2: import is not supported: the program must be self-contained"},
		{"export function", "\nexport function f() {}", "a.js, line 2: this form of export is not supported: " +
			"want export default or export const"},
		{"no network", "fetch('http://localhost')", "a.js, line 1: ReferenceError: fetch is not defined"},
		{"syntax", "\n\nlet x = ;", "a.js, line 3: SyntaxError: Unexpected token ;"},
		{"thrown", "\nthrow new Error('no')", "a.js, line 2: Error: no"},
		{"no end", "while (true) {}", "a.js: the program is stopped: it has run for longer than 200ms"},
		{"no end in a getter", "module.exports = { get a() { while (true) {} } }", "a.js: the program is stopped: " +
			"it has run for longer than 200ms"},
		{"no end of calls", "\nfunction f() { f() }\nf()", "a.js, line 2: the program's recursion is too deep"},
		{"long text", "'x'.repeat(1e9)", "a.js, line 1: RangeError: repeat: too much for a script"},
		{"long list", "\nnew Array(1e9).fill(0)", "a.js, line 2: RangeError: fill: too much for a script"},
		{"no raw memory", "new ArrayBuffer(1e9)", "a.js, line 1: ReferenceError: ArrayBuffer is not defined"},
		{"a list without items", "const a = []; a.length = 1e9; exports.a = a", "a.js, a: the list has more than 200000 items"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("ARTILLERY_TEST_SET", "yes")
			limit := defaultBounds()
			if strings.HasPrefix(tt.name, "no end") {
				limit.time = 200 * time.Millisecond
			}
			n, err := readProgram("a.js", []byte(tt.program), limit)
			var got string
			if err != nil {
				got = strings.TrimPrefix(err.Error(), "artillery: ")
				got, _, _ = strings.Cut(got, " (and ")
			} else {
				got = string(appendJSON(nil, n.value()))
			}
			if got != tt.want {
				t.Errorf("got\n%s, want\n%s", got, tt.want)
			}
		})
	}
}

// TestProgramMemory checks that a program that allocates without end is stopped.
func TestProgramMemory(t *testing.T) {
	limit := defaultBounds()
	limit.memory, limit.time = 32<<20, time.Minute
	_, err := readProgram("a.js", []byte("const a = []; while (true) a.push('x'.repeat(1000) + a.length)"), limit)
	if want := "artillery: a.js: the program is stopped: it uses more than 32 MiB"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
