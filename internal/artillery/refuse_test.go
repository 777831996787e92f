package artillery

import (
	"errors"
	"strings"
	"testing"
)

// refusal compiles an invalid script and returns the error.
func refusal(t *testing.T, name, text, environment string) string {
	t.Helper()
	s, err := parse(name, []byte(text), environment)
	if err == nil {
		_, err = s.Plan()
	}
	if err == nil {
		return "no error"
	}
	if _, ok := errors.AsType[*Error](err); !ok {
		t.Errorf("got a %T, want an *Error", err)
	}
	return strings.TrimPrefix(err.Error(), "artillery: s.yml, ")
}

// TestRefusedSteps checks that invalid steps are refused, with line and key.
func TestRefusedSteps(t *testing.T) {
	const noNode = "functions of a processor are not supported: Node.js is not available"
	for _, tt := range []struct{ name, step, want string }{
		{"typo", "sned: x", `sned: unknown key: did you mean "send"?`},
		{"nothing alike", "frobnicate: x", "frobnicate: unknown key: known are connect, log, loop, send, think"},
		{"two keys", "{ send: x, name: y }", "name: unknown key: known are send"},
		{"empty step", "{}", "the step is empty"},
		{"function", "function: f", "function: " + noNode},
		{"wait", "wait: { capture: { json: $, as: x } }", "wait: waiting without sending is not done here: " +
			"put capture or match into the send before it"},
		{"http", "get: { url: / }", "get: this is a step of engine http"},
		{"socketio", "emit: [ x ]", "emit: this is a step of engine socketio"},
		{"connect later", "connect: ws://localhost", "connect: connect must be the first step of a flow: " +
			"artillery ignores it elsewhere"},
		{"think of nothing", "think: ~", "think: null is not a duration: want whole seconds, or text like 200ms or 1.5s"},
		{"think words", "think: soon", `think: "soon" is not a duration: want whole seconds, or text like 200ms or 1.5s`},
		{"think years", "think: 9 years", `think: "9 years" is not a duration: want whole seconds, or text like 200ms or 1.5s`},
		{"jitter", "{ think: 1, jitter: some }", "jitter: want milliseconds, or a part of the time like 20%"},
		{"endless loop", "{ loop: [ think: 1 ] }", "this loop would never end: give it a count above 0"},
		{"count 0", "{ loop: [ think: 1 ], count: 0 }", "count: this loop would never end: give it a count above 0"},
		{"count -1", "{ loop: [ think: 1 ], count: -1 }", "count: this loop would never end: give it a count above 0"},
		{"count words", "{ loop: [ think: 1 ], count: many }", `count: "many" is not a number of iterations: want one, or a range like 1-10`},
		{"whileTrue", "{ loop: [ think: 1 ], whileTrue: f }", "whileTrue: " + noNode},
		{"over a choice", "{ loop: [ think: 1 ], over: list }", "over: each user gets one item of list, and not the list: " +
			"nest it in another list"},
		{"over nothing known", "{ loop: [ think: 1 ], over: lits }", `over: unknown name: did you mean "list"?`},
		{"in a loop", "{ loop: [ snd: 1 ], count: 1 }", `loop[0].snd: unknown key: did you mean "send"?`},
		{"unknown variable", "send: 'a {{ lits }}'", `send: {{ lits }}: unknown name: did you mean "list"?`},
		{"in JSON", "send: { a: [ '{{ lits }}' ] }", `send.a[0]: {{ lits }}: unknown name: did you mean "list"?`},
		{"an expression", "send: '{{ n + 1 }}'", "send: malformed template {{ n + 1 }}: " +
			"want {{ name }} or {{ $function(1, 2) }}"},
		{"unknown function", "send: '{{ $randomInt(1, 2) }}'", "send: {{ $randomInt(1, 2) }}: no such function: " +
			"known are $randomNumber, $randomString"},
		{"long random text", "send: '{{ $randomString(99999999) }}'", "send: {{ $randomString(99999999) }}: " +
			"want one length, at most 1048576"},
		{"environment", "send: '{{ $env.ARTILLERY_TEST_UNSET }}'", "send: {{ $env.ARTILLERY_TEST_UNSET }}: " +
			"the environment has no variable ARTILLERY_TEST_UNSET"},
		{"loop's name outside", "send: '{{ $loopCount }}'", "send: {{ $loopCount }}: unknown name: known are " +
			"$dirname, $env, $environment, $scenarioFile, $testId, $timestamp, $uuid, list, n, target"},
		{"match without a part", "send: { payload: x, match: { value: 1 } }", "send.match: want json or regexp: the part of the message"},
		{"match without a value", "send: { payload: x, match: { json: $.a } }", "send.match: want value: what this part must be"},
		{"match of a header", "send: { payload: x, match: { header: a, value: 1 } }", "send.match.header: header is not supported: " +
			"want json or regexp"},
		{"capture without a name", "send: { payload: x, capture: { json: $.a } }", "send.capture: want as: the name of the variable"},
		{
			"capture without a message", "send: { capture: { json: $.a, as: b } }",
			"send: waiting without sending is not supported: want payload",
		},
		{"a path to many", "send: { payload: x, capture: { json: '$..a', as: b } }", "send.capture.json: " +
			"the path $..a leads to several places: want one like $.items[0].name"},
		{
			"an expression of JavaScript", "send: { payload: x, match: { regexp: '(?=a)', value: a } }",
			"send.match.regexp: error parsing regexp: invalid or unsupported Perl syntax: `(?=`: " +
				"look-around and back-references are not supported",
		},
		{
			"a group that is not there", "send: { payload: x, match: { regexp: a, group: 1, value: a } }",
			"send.match.group: the expression has no group 1",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := refusal(t, "s.yml", `config: { target: ws://localhost, variables: { list: [ a, b ], n: 1 } }
scenarios:
  - engine: ws
    flow:
    - send: first
    - `+tt.step, "")
			sep := "."
			if strings.HasPrefix(tt.want, "this loop") || strings.HasPrefix(tt.want, "the step") {
				sep = ": "
			}
			if want := "line 6, scenarios[0].flow[1]" + sep + tt.want; got != want {
				t.Errorf("got\n%s, want\n%s", got, want)
			}
		})
	}
}

// TestRefusedConfig checks that invalid settings are refused.
func TestRefusedConfig(t *testing.T) {
	for _, tt := range []struct{ name, config, want string }{
		{"typo", "phasse: []", `config.phasse: unknown key: did you mean "phases"?`},
		{"twice", "target: ws://other", "config.target: duplicate key"},
		{"no phases", "phases: []", "config.phases: want 1 to 1000 phases"},
		{"nobody", "phases: [ { pause: 1 } ]", "config.phases: no user arrives in any phase"},
		{"phase typo", "phases: [ { duration: 1, arivalRate: 1 } ]", `config.phases[0].arivalRate: unknown key: ` +
			`did you mean "arrivalRate"?`},
		{"no arrivals", "phases: [ { duration: 1 } ]", "config.phases[0]: want arrivalRate, rampTo, arrivalCount or pause"},
		{"no duration", "phases: [ { arrivalRate: 1 } ]", "config.phases[0]: want duration"},
		{"half a second", "phases: [ { duration: 0.5, arrivalRate: 1 } ]", "config.phases[0].duration: 0.5 is not a valid duration: " +
			"want whole seconds, or text like 500ms or 1.5m"},
		{"both", "phases: [ { duration: 1, arrivalRate: 1, arrivalCount: 1 } ]", "config.phases[0].arrivalRate: " +
			"a phase with arrivalCount cannot have arrivalRate"},
		{"negative", "phases: [ { duration: 1, arrivalRate: -1 } ]", "config.phases[0].arrivalRate: want a number, got -1"},
		{"rate of words", "phases: [ { duration: 1, arrivalRate: fast } ]", `config.phases[0].arrivalRate: want a number, got "fast"`},
		{"poisson", "mode: poisson", "config.mode: arrivals are always uniform: remove mode"},
		{"proxy", "ws: { proxy: { url: http://x } }", "config.ws.proxy: connections through a proxy are not made here"},
		{"client certificate", "tls: { cert: x }", "config.tls.cert: client certificates are not sent"},
		{"option typo", "ws: { subprotocol: x }", `config.ws.subprotocol: unknown key: did you mean "subprotocols"?`},
		{"plugin", "plugins: { enusre: {} }", `config.plugins.enusre: unknown key: did you mean "ensure"?`},
		{"fake data", "plugins: { fake-data: {} }", "config.plugins.fake-data: the functions of this plugin are not supported"},
		{"payload without path", "payload: { fields: [ a ] }", "config.payload: want path: the file with the values"},
		{"payload without fields", "payload: { path: x }", "config.payload: want fields: the names of the columns"},
		{"payload not there", "payload: { path: none.csv, fields: [ a ] }", "config.payload.path: open none.csv: " +
			"no such file or directory"},
		{"variable in config", "variables: { a: '{{ b }}', b: 1 }", "config.variables.a: {{ b }}: unknown name: " +
			"known are $dirname, $env, $environment, $scenarioFile, $testId, $timestamp, target"},
		{"metric", "plugins: { ensure: {} }, ensure: { thresholds: [ { rtt.p9: 1 } ] }", `config.ensure.thresholds[0].rtt.p9: ` +
			`rtt.p9 < 1: no metric "rtt.p9": did you mean "rtt.p90"?`},
		{
			"condition", "ensure: { conditions: [ { expression: vusers.failed = 0 } ] }",
			`config.ensure.conditions[0].expression: vusers.failed = 0: unexpected "= 0": ` +
				`known are numbers, names of metrics, + - * / % ^ == != < <= > >= and or not ( )`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := refusal(t, "s.yml", "config: { target: ws://localhost, "+tt.config+` }
scenarios: [ { engine: ws, flow: [ { send: x } ] } ]`, "")
			if want := "line 1, " + tt.want; got != want {
				t.Errorf("got\n%s, want\n%s", got, want)
			}
		})
	}
}

// TestRefusedScripts checks that scripts are refused that are invalid as a whole.
func TestRefusedScripts(t *testing.T) {
	const target = "config: { target: ws://localhost }\n"
	for _, tt := range []struct{ name, script, environment, want string }{
		{"empty", "", "", "artillery: s.yml: the script is empty"},
		{"no object", "just text", "", "line 1: want an object, got text"},
		{"no YAML", "a: [", "", "line 1: did not find expected node content"},
		{"two documents", target + "---\n" + target, "", "line 2: want one document, got a second"},
		{"no config", "scenarios: []", "", "line 1: want config: with target and phases"},
		{"no target", "config: { phases: [] }\nscenarios: []", "", "line 1, config: want target, such as ws://127.0.0.1:8080/echo"},
		{"no environment", "config: { environments: { a: { target: ws://x }, b: {} } }\nscenarios: []", "", "line 1, config: " +
			"want target, such as ws://127.0.0.1:8080/echo, or choose an environment with --environment: a, b"},
		{
			"wrong environment", "config: { environments: { load: {} } }\nscenarios: []", "laod",
			`artillery: s.yml: the script has no environment laod: did you mean "load"?`,
		},
		{"no environments", target, "x", "artillery: s.yml: the script has no environments: leave --environment out"},
		{"not a WebSocket", "config: { target: ftp://x }\nscenarios: []", "", `line 1, config.target: want a URL like ` +
			`ws://127.0.0.1:8080/echo, or "{{ target }}/echo"`},
		{"no scenarios", target, "", "line 1: want scenarios: what the users do"},
		{"before", target + "before: { flow: [] }", "", "line 2, before: steps before and after all users are not supported"},
		{"unknown part", target + "scenario: []", "", `line 2, scenario: unknown key: did you mean "scenarios"?`},
		{"http", target + "scenarios: [ { flow: [] } ]", "", "line 2, scenarios[0]: the default engine of artillery is http: " +
			"write engine: ws"},
		{"socketio", target + "scenarios: [ { engine: socketio, flow: [] } ]", "", `line 2, scenarios[0].engine: engine "socketio" is not supported: want ws`},
		{"hook", target + "scenarios: [ { engine: ws, beforeScenario: f, flow: [] } ]", "", "line 2, scenarios[0].beforeScenario: " +
			"functions of a processor are not supported: Node.js is not available"},
		{"no flow", target + "scenarios: [ { engine: ws } ]", "", "line 2, scenarios[0]: want flow: the steps"},
		{"weights", target + "scenarios: [ { engine: ws, weight: 0, flow: [] } ]", "", "line 2, scenarios: " +
			"all scenarios have weight 0: no user does anything"},
		{"relative", target + "scenarios: [ { engine: ws, flow: [ { connect: /echo } ] } ]", "", "line 2, " +
			`scenarios[0].flow[0].connect: want a URL like ws://127.0.0.1:8080/echo, or "{{ target }}/echo"`},
		{"connect by function", target + "scenarios: [ { engine: ws, flow: [ { connect: { function: f } } ] } ]", "", "line 2, " +
			"scenarios[0].flow[0].connect.function: functions of a processor are not supported: Node.js is not available"},
		{
			"aliases without end", "a: &a [ x, x, x, x, x, x, x, x, x, x ]\nb: &b [ *a, *a, *a, *a, *a, *a, *a, *a, *a, *a ]\n" +
				"c: &c [ *b, *b, *b, *b, *b, *b, *b, *b, *b, *b ]\nd: &d [ *c, *c, *c, *c, *c, *c, *c, *c, *c, *c ]\n" +
				"e: &e [ *d, *d, *d, *d, *d, *d, *d, *d, *d, *d ]\nf: [ *e, *e, *e, *e, *e, *e, *e, *e, *e, *e ]", "",
			"line 1, f[0][6][8][8][8][2]: the script has more than 200000 values",
		},
		{"deep", strings.Repeat("[", 200) + strings.Repeat("]", 200), "", "line 1, " + strings.Repeat("[0]", 65) +
			": the script is nested more than 64 deep"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := refusal(t, "s.yml", tt.script, tt.environment); got != tt.want {
				t.Errorf("got\n%s, want\n%s", got, tt.want)
			}
		})
	}
}

// TestRefusedJSON checks that errors in JSON have lines, too.
func TestRefusedJSON(t *testing.T) {
	for _, tt := range []struct{ name, script, want string }{
		{"empty", "", "artillery: s.json: the script is empty"},
		{"cut off", "{\n\"config\": {", "artillery: s.json, line 2: unexpected EOF"},
		{"malformed", "{\n\n\"config\": x}", "artillery: s.json, line 3: invalid character 'x' looking for beginning of value"},
		{"more behind", "{}\n{}", "artillery: s.json, line 2: want one value, got { after it"},
		{"twice", "{ \"config\": 1,\n\"config\": 2 }", "artillery: s.json, line 2, config: duplicate key"},
		{
			"typo", "{ \"config\": { \"target\": \"ws://x\",\n\n\"phasse\": 1 }, \"scenarios\": [] }",
			`artillery: s.json, line 3, config.phasse: unknown key: did you mean "phases"?`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := refusal(t, "s.json", tt.script, ""); got != tt.want {
				t.Errorf("got\n%s, want\n%s", got, tt.want)
			}
		})
	}
}
