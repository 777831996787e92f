package artillery

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"github.com/dop251/goja"
)

// bounds limit what a program may use.
type bounds struct {
	time   time.Duration
	memory uint64 // bytes
	stack  int    // calls
	look   time.Duration
}

// defaultBounds returns limits that are ample for a program that creates a script.
func defaultBounds() bounds {
	return bounds{time: 5 * time.Second, memory: 256 << 20, stack: 1000, look: 2 * time.Millisecond}
}

// grace is how long an interrupted program may take to stop. A single call of a built-in function cannot be
// interrupted; then the program's goroutine is abandoned until this process ends.
const grace = time.Second

// readProgram executes a script that is a program and reads its exports. The program has the language itself and
// process.env, but no Node.js, no files and no network.
func readProgram(file string, b []byte, limit bounds) (*node, error) {
	code, err := commonJS(file, string(b))
	if err != nil {
		return nil, err
	}
	type result struct {
		n   *node
		err error
	}
	vm := goja.New()
	done := make(chan result, 1)
	// Ends with the program, which is interrupted when it exceeds a limit.
	go func() {
		var r result
		defer func() {
			if x := recover(); x != nil { // it was interrupted in a getter, or the interpreter has a bug
				err, ok := x.(error)
				if !ok {
					err = fmt.Errorf("the program cannot be run: %v", x)
				}
				r = result{err: programError(file, err)}
			}
			done <- r
		}()
		r.n, r.err = run(vm, file, code, limit.stack)
	}()
	base, tick := heap(), time.NewTicker(limit.look)
	defer tick.Stop()
	end := time.NewTimer(limit.time)
	defer end.Stop()
	for {
		select {
		case r := <-done:
			return r.n, r.err
		case <-end.C:
			vm.Interrupt("it has run for longer than " + limit.time.String())
		case <-tick.C:
			if used := heap(); used < base || used-base < limit.memory {
				continue
			}
			vm.Interrupt(fmt.Sprintf("it uses more than %d MiB", limit.memory>>20))
		}
		select {
		case r := <-done:
			return r.n, r.err
		case <-time.After(grace):
			return nil, &Error{File: file, Reason: "the program does not stop"}
		}
	}
}

// heap returns the memory that objects on Go's heap use.
func heap() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// Forms of import and export: those that are rewritten, and those that are refused.
var (
	exportDefault = regexp.MustCompile(`(?m)^([ \t]*)export\s+default\b`)
	exportName    = regexp.MustCompile(`(?m)^([ \t]*)export\s+(const|let|var)\s+([A-Za-z_$][\w$]*)`)
	exportList    = regexp.MustCompile(`(?m)^([ \t]*)export\s*\{([^}]*)\}[ \t]*;?[ \t]*$`)
	exportOther   = regexp.MustCompile(`(?m)^[ \t]*export\b.*$`)
	importAny     = regexp.MustCompile(`(?m)^[ \t]*import\b.*$`)
	shebang       = regexp.MustCompile(`^#!.*`)
)

// commonJS rewrites a module's exports line by line, so that line numbers stay correct. It refuses modules that import.
func commonJS(file, code string) (string, error) {
	code = shebang.ReplaceAllString(code, "")
	if i := importAny.FindStringIndex(code); i != nil {
		return "", &Error{
			File: file, Line: 1 + strings.Count(code[:i[0]], "\n"),
			Reason: "import is not supported: the program must be self-contained",
		}
	}
	var tail strings.Builder
	for _, m := range exportName.FindAllStringSubmatch(code, -1) {
		fmt.Fprintf(&tail, "\nexports[%q] = %s;", m[3], m[3])
	}
	for _, m := range exportList.FindAllStringSubmatch(code, -1) {
		for item := range strings.SplitSeq(m[2], ",") {
			words := strings.Fields(item)
			switch {
			case len(words) == 1:
				words = append(words, "as", words[0])
			case len(words) != 3 || words[1] != "as":
				continue
			}
			fmt.Fprintf(&tail, "\nexports[%q] = %s;", words[2], words[0])
		}
	}
	code = exportDefault.ReplaceAllString(code, "${1}exports.default =")
	code = exportName.ReplaceAllString(code, "$1$2 $3")
	code = exportList.ReplaceAllString(code, "$1")
	if i := exportOther.FindStringIndex(code); i != nil {
		return "", &Error{
			File: file, Line: 1 + strings.Count(code[:i[0]], "\n"),
			Reason: "this form of export is not supported: want export default or export const",
		}
	}
	return code + tail.String() + "\n", nil
}

const tameName = "(limits)"

// tame removes or limits functions that could use much memory or time within a single call, which cannot be
// interrupted.
const tame = `(function () {
	const most = 1 << 22, apply = Reflect.apply;
	const bound = (o, name, size) => {
		const f = o[name];
		o[name] = function (...args) {
			if (size(this, args) > most) throw new RangeError(name + ": too much for a script");
			return apply(f, this, args);
		};
	};
	bound(String.prototype, "repeat", (s, a) => String(s).length * a[0]);
	bound(String.prototype, "padStart", (s, a) => a[0]);
	bound(String.prototype, "padEnd", (s, a) => a[0]);
	bound(Array, "from", (s, a) => a[0] == null ? 0 : a[0].length);
	for (const name of Object.getOwnPropertyNames(Array.prototype)) {
		if (name !== "constructor" && typeof Array.prototype[name] === "function") {
			bound(Array.prototype, name, (s) => s == null ? 0 : s.length);
		}
	}
	for (const name of ["ArrayBuffer", "DataView", "Int8Array", "Uint8Array", "Uint8ClampedArray", "Int16Array",
		"Uint16Array", "Int32Array", "Uint32Array", "Float32Array", "Float64Array", "BigInt64Array", "BigUint64Array"]) {
		delete globalThis[name];
	}
})();`

// run executes the program and reads its exports.
func run(vm *goja.Runtime, file, code string, stack int) (n *node, err error) {
	vm.SetMaxCallStackSize(stack)
	if _, err := vm.RunScript(tameName, tame); err != nil {
		return nil, &Error{File: file, Reason: err.Error()}
	}
	module, exports := vm.NewObject(), vm.NewObject()
	err = errors.Join(module.Set("exports", exports), vm.Set("module", module), vm.Set("exports", exports),
		vm.Set("require", func(call goja.FunctionCall) goja.Value {
			panic(vm.NewTypeError("require(%q) is not supported: a script has no files, no network and no modules",
				call.Argument(0).String()))
		}),
		vm.Set("console", silent(vm)), vm.Set("process", environ(vm)),
		vm.Set("__filename", file), vm.Set("__dirname", filepath.Dir(file)))
	if err != nil {
		return nil, &Error{File: file, Reason: err.Error()}
	}
	if _, err := vm.RunScript(file, code); err != nil {
		return nil, programError(file, err)
	}
	if thrown := vm.Try(func() { n, err = exported(vm, file, module.Get("exports")) }); thrown != nil {
		return nil, programError(file, thrown)
	}
	return n, err
}

// exported reads the exports of a program. A default export takes precedence.
func exported(vm *goja.Runtime, file string, value goja.Value) (*node, error) {
	if o, ok := value.(*goja.Object); ok {
		if d := o.Get("default"); d != nil && !goja.IsUndefined(d) {
			value = d
		}
		if o, ok = value.(*goja.Object); ok && o.ClassName() == "Object" && len(o.Keys()) == 0 {
			return nil, &Error{File: file, Reason: "the program exports nothing: want module.exports = { config, scenarios }"}
		}
	}
	r := programReader{vm: vm, budget: budget{file: file}}
	return r.node(value, "", 0)
}

// programError converts an error to an *Error with the line at which it occurred.
func programError(file string, err error) error {
	if stopped, ok := errors.AsType[*goja.InterruptedError](err); ok {
		return &Error{File: file, Reason: fmt.Sprintf("the program is stopped: %v", stopped.Value())}
	}
	if deep, ok := errors.AsType[*goja.StackOverflowError](err); ok {
		return &Error{File: file, Line: lineOf(deep.Stack()), Reason: "the program's recursion is too deep"}
	}
	e := &Error{File: file, Reason: err.Error()}
	if thrown, ok := errors.AsType[*goja.Exception](err); ok {
		e.Line, e.Reason = lineOf(thrown.Stack()), thrown.Value().String()
	}
	if m := syntaxForm.FindStringSubmatch(e.Reason); m != nil {
		e.Line, _ = strconv.Atoi(m[1])
		e.Reason = "SyntaxError: " + m[2]
	}
	return e
}

// syntaxForm matches the interpreter's message for a program with a syntax error, which contains the line.
var syntaxForm = regexp.MustCompile(`^(?:SyntaxError: )+.*?: Line (\d+):\d+ (.*)$`)

// lineOf returns the innermost line of a stack that belongs to the program, and not to a built-in function.
func lineOf(stack []goja.StackFrame) int {
	for i := range stack {
		if line := stack[i].Position().Line; line > 0 && stack[i].SrcName() != tameName {
			return line
		}
	}
	return 0
}

// silent returns a console that prints nothing.
func silent(vm *goja.Runtime) *goja.Object {
	c := vm.NewObject()
	for _, name := range []string{"log", "info", "warn", "error", "debug"} {
		_ = c.Set(name, func() {}) // cannot fail on a new object
	}
	return c
}

// environ returns the object process, with the environment variables that templates can use, too.
func environ(vm *goja.Runtime) *goja.Object {
	env := vm.NewObject()
	for _, s := range os.Environ() {
		name, value, _ := strings.Cut(s, "=")
		_ = env.Set(name, value)
	}
	p := vm.NewObject()
	_ = p.Set("env", env)
	return p
}

// programReader converts a program's values to nodes.
type programReader struct {
	budget
	vm *goja.Runtime
}

func (r *programReader) node(v goja.Value, path string, depth int) (*node, error) {
	n, err := r.budget.node(null, 0, path, depth)
	if err != nil {
		return nil, err
	}
	o, ok := v.(*goja.Object)
	if !ok {
		return n, r.scalar(n, v)
	}
	switch o.ClassName() {
	case "Array":
		n.kind = list
		size := o.Get("length").ToInteger()
		if size > maxNodes {
			return nil, n.fault("the list has more than %d items", maxNodes)
		}
		for i := range int(size) {
			item, err := r.node(o.Get(fmt.Sprint(i)), at(path, i), depth+1)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, item)
		}
		return n, nil
	case "Object":
		n.kind = object
		for _, key := range o.Keys() {
			field := field{key: key}
			value := o.Get(key)
			if value == nil || goja.IsUndefined(value) { // as if the key were missing
				continue
			}
			if field.value, err = r.node(value, join(path, key), depth+1); err != nil {
				return nil, err
			}
			if err := n.add(field); err != nil {
				return nil, err
			}
		}
		return n, nil
	}
	if o.ClassName() == "Function" {
		return nil, n.fault("functions are not supported: Node.js is not available")
	}
	return nil, n.fault("want a plain value, got a %s", strings.ToLower(o.ClassName()))
}

func (r *programReader) scalar(n *node, v goja.Value) error {
	if v == nil || goja.IsUndefined(v) || goja.IsNull(v) {
		return nil
	}
	switch x := v.Export().(type) {
	case bool:
		n.kind, n.truth = boolean, x
	case string:
		n.kind, n.text = text, x
	case int64:
		n.kind, n.num = number, float64(x)
	case float64:
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return n.fault("want a number, got %v", x)
		}
		n.kind, n.num = number, x
	default:
		return n.fault("want a plain value, got %T", x)
	}
	return nil
}
