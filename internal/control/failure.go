package control

import (
	"encoding/json"
	"net/http"
)

// failure is how a request's error travels: {"error":{"code":"…","message":"…"}}.
type failure struct {
	Error struct {
		Code    string `json:"code"`    // for programs: not_found, forbidden, …
		Message string `json:"message"` // for people
	} `json:"error"`
}

// fail answers with an error.
func fail(w http.ResponseWriter, status int, code, message string) {
	var f failure
	f.Error.Code, f.Error.Message = code, message
	reply(w, status, f)
}

// reply answers with JSON. A peer that went away meanwhile does not get it, and that is nobody's concern.
func reply(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		// A status with a value that JSON cannot express, such as NaN.
		status, b = http.StatusInternalServerError, []byte(`{"error":{"code":"internal","message":"no JSON for it"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}
