package artillery

import (
	"testing"
	"time"
)

// TestTimes checks that whole numbers are seconds, text is parsed by ms, and fractions are milliseconds, as in
// artillery.
func TestTimes(t *testing.T) {
	for _, tt := range []struct {
		value any
		want  time.Duration
		ok    bool
	}{
		{1.0, time.Second, true},
		{0.0, 0, true},
		{"2", 2 * time.Second, true},
		{0.2, time.Millisecond, true},
		{1.5, time.Millisecond, true},
		{"0.2", time.Millisecond, true},
		{"1.5", time.Millisecond, true},
		{"250.7", 250 * time.Millisecond, true},
		{"200ms", 200 * time.Millisecond, true},
		{"200 ms", 200 * time.Millisecond, true},
		{"1.5s", 1500 * time.Millisecond, true},
		{"2 Minutes", 2 * time.Minute, true},
		{".5h", 30 * time.Minute, true},
		{"3 days", 72 * time.Hour, true},
		{"1w", 7 * 24 * time.Hour, true},
		{"-1", 0, true},
		{"1x", 0, false},
		{"", 0, false},
		{"500 days", 0, false},
		{true, 0, false},
		{nil, 0, false},
		{[]any{1.0}, 0, false},
	} {
		got, ok := pause(tt.value)
		if !ok {
			got = 0
		}
		if got != tt.want || ok != tt.ok {
			t.Errorf("%v: got %v and %t, want %v and %t", tt.value, got, ok, tt.want, tt.ok)
		}
	}
}

// TestPhases checks what phases compile to.
func TestPhases(t *testing.T) {
	for _, tt := range []struct{ name, phases, want string }{
		{"none is one user", "~", " 1 users"},
		{"a rate", "[ { duration: 10, arrivalRate: 5 } ]", " 10s 5/s"},
		{"a ramp", "[ { duration: 2m, arrivalRate: 1, rampTo: 5, name: up } ]", ` "up" 2m0s 1/s to 5/s`},
		{"a ramp from nothing", "[ { duration: 10, rampTo: 5 } ]", " 10s 0/s to 5/s"},
		{"a ramp down", "[ { duration: 10, arrivalRate: 5, rampTo: 0 } ]", " 10s 5/s to 0/s"},
		{"numbers as text", `[ { duration: "10", arrivalRate: "5", rampTo: "7.5" } ]`, " 10s 5/s to 7.5/s"},
		{
			"from the environment", `[ { duration: "{{ $env.ARTILLERY_TEST_N }}", arrivalRate: "{{ $processEnvironment.ARTILLERY_TEST_N }}" } ]`,
			" 3s 3/s",
		},
		{"a number of users", "[ { duration: 10, arrivalCount: 5, maxVusers: 2 } ]", " 10s 5 users at most 2"},
		{"a rate of 0 is a pause", "[ { duration: 10, arrivalRate: 0 }, { arrivalCount: 1 } ]", " 10s pause"},
		{"a limit of 0 is a pause", "[ { duration: 10, arrivalRate: 5, maxVusers: 0 }, { arrivalCount: 1 } ]", " 10s pause"},
		{"octal and underscores", "[ { duration: 0x10, arrivalRate: 1_000 } ]", " 16s 1000/s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("ARTILLERY_TEST_N", "3")
			p := planOf(t, "s.yml", "config: { target: ws://localhost, phases: "+tt.phases+
				" }\nscenarios: [ { engine: ws, flow: [] } ]")
			if got := phaseWords(p.Phases[0]); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestWarnings checks the warnings about surprising behavior of artillery.
func TestWarnings(t *testing.T) {
	s, err := parse("s.yml", []byte(`
config:
  target: ws://localhost
  processor: ./f.js
  plugins: { publish-metrics: [] }
scenarios:
  - { engine: ws, weight: 1.5, flow: [ { send: { payload: x } } ] }`), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Plan(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"artillery: s.yml, line 7, scenarios[0].weight: artillery drops the fraction",
		"artillery: s.yml, line 7, scenarios[0].flow[0].send: without capture or match, artillery sends the whole object " +
			"and not its payload",
		"artillery: s.yml, line 5, config.plugins.publish-metrics: this plugin is ignored",
		"artillery: s.yml, line 4, config.processor: no function of the processor is used: it is not loaded",
	}
	got := s.Warnings()
	if len(got) != len(want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got\n%s, want\n%s", got[i], want[i])
		}
	}
}

// TestLoadsNothing checks that a missing or too long file is an error with its name.
func TestLoadsNothing(t *testing.T) {
	_, err := Load("testdata/none.yml", "")
	if want := "artillery: testdata/none.yml: open testdata/none.yml: no such file or directory"; errorText(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err := readFile("testdata/steps.yml", 10); err == nil {
		t.Error("got a file that is longer than the limit")
	}
}
