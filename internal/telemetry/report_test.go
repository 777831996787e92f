package telemetry

import (
	"encoding/json"
	"math"
	"reflect"
	"runtime"
	"testing"
)

// full returns a report in which every field is different and not zero.
func full(t *testing.T) Report {
	t.Helper()
	var w Report
	v := reflect.ValueOf(&w).Elem()
	for i := range v.NumField() {
		n := i + 1
		switch f := v.Field(i); f.Kind() {
		case reflect.Int64:
			f.SetInt(int64(n))
		case reflect.Uint64:
			f.SetUint(uint64(n))
		case reflect.Float64:
			f.SetFloat(float64(n) / 8)
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Map:
			f.Set(reflect.ValueOf(map[string]uint64{"a": uint64(n), "b": 1}))
		default:
			t.Fatalf("field %d is a %s: teach the test about it", i, f.Kind())
		}
	}
	return w
}

func TestWorkerSurvivesEncoding(t *testing.T) {
	for name, want := range map[string]Report{"full": full(t), "zero": {}} {
		got, err := ParseReport(want.Encode())
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want)
		}
	}
}

func TestWorkerEncodesWhatJSONCannot(t *testing.T) {
	for _, lag := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		got, err := ParseReport(Report{LoopLagSeconds: lag, Opened: 7}.Encode())
		if err != nil || got.Opened != 7 || got.LoopLagSeconds != 0 {
			t.Errorf("lag %v: got %+v, %v, want the rest of the report", lag, got, err)
		}
	}
}

func TestParseWorkerRefuses(t *testing.T) {
	for _, s := range []string{"", "[]", `{"opened":-1}`, `{"opened":"1"}`, `{"opened":1`} {
		if w, err := ParseReport([]byte(s)); err == nil {
			t.Errorf("%q: got %+v, want an error", s, w)
		}
	}
}

// TestPlusKnowsAllFields checks that plus and merge handle every field of Report.
func TestPlusKnowsAllFields(t *testing.T) {
	w := full(t)
	if got := w.plus(Report{}); !reflect.DeepEqual(got, w) {
		t.Errorf("with nothing: got %+v, want %+v", got, w)
	}
	if got := (Report{}).plus(w); !reflect.DeepEqual(got, w) {
		t.Errorf("to nothing: got %+v, want %+v", got, w)
	}
	twice := w.plus(w)
	a, b := reflect.ValueOf(w), reflect.ValueOf(twice)
	for i := range a.NumField() {
		name := a.Type().Field(i).Name
		switch f := b.Field(i); f.Kind() {
		case reflect.Int64:
			if f.Int() != 2*a.Field(i).Int() {
				t.Errorf("%s: got %d, want twice %d", name, f.Int(), a.Field(i).Int())
			}
		case reflect.Uint64:
			if f.Uint() != 2*a.Field(i).Uint() {
				t.Errorf("%s: got %d, want twice %d", name, f.Uint(), a.Field(i).Uint())
			}
		case reflect.Map:
			if got := f.Interface().(map[string]uint64)["b"]; got != 2 {
				t.Errorf("%s[b]: got %d, want 2", name, got)
			}
		}
	}
	if w.Closed["b"] != 1 {
		t.Error("plus changed a map that it was given")
	}
}

func TestReadProcess(t *testing.T) {
	w := Report{Opened: 5}
	w.ReadProcess()
	if w.HeapBytes == 0 || w.Goroutines < 1 || w.Opened != 5 {
		t.Errorf("got %+v, want a heap, a goroutine, and the rest as it was", w)
	}
	if runtime.GOOS == "linux" && w.RSSBytes < 1<<20 {
		t.Errorf("resident: got %d bytes, want more than 1 MiB", w.RSSBytes)
	}
}

func BenchmarkReadProcess(b *testing.B) {
	var w Report
	for b.Loop() {
		w.ReadProcess()
	}
}

func FuzzParseWorker(f *testing.F) {
	f.Add([]byte(`{"conns":3,"lag":0.5,"closed":{"1000":2}}`))
	f.Add(Report{}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := ParseReport(b)
		if err != nil {
			return
		}
		again, err := ParseReport(w.Encode())
		if err != nil {
			t.Fatal(err)
		}
		x, err := json.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		y, err := json.Marshal(again)
		if err != nil || string(x) != string(y) {
			t.Errorf("encoding changes it: %s became %s, %v", x, y, err)
		}
	})
}
