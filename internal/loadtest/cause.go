package loadtest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"syscall"

	"github.com/expedite-go/expedite/ws"
)

// maxCause limits the length of a cause, in bytes.
const maxCause = 100

// cause describes an error in a few words that are the same for many failures, so that they can be counted together:
// the name of the system's error, or the reason given by the protocol.
func cause(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errnoName(errno)
	}
	if e, ok := errors.AsType[*ws.ResponseError](err); ok && e.Status == 101 {
		return brief("handshake: " + e.Reason)
	} else if ok {
		return fmt.Sprintf("http %d", e.Status)
	}
	if e, ok := errors.AsType[*ws.ProtocolError](err); ok {
		return brief(fmt.Sprintf("protocol %d: %s", e.Code, e.Reason))
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return "dns: no such host"
	}
	if s := tlsCause(err); s != "" {
		return brief("tls: " + s)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed"
	}
	return brief(err.Error())
}

// tlsCause describes an error of TLS. It returns "" for all others.
func tlsCause(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "unknown authority"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "certificate of another name"
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if e.Reason == x509.Expired {
			return "certificate expired"
		}
		return "certificate invalid"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "the server does not speak TLS"
	}
	if e, ok := errors.AsType[tls.AlertError](err); ok {
		return e.Error()
	}
	return ""
}

// brief returns s on one line, cut to maxCause bytes.
func brief(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxCause {
		s = strings.ToValidUTF8(s[:maxCause], "")
	}
	return s
}

// causeTLS is that of a client of ws:// at a port of Expedite with TLS.
const causeTLS = "http 400: the server speaks TLS"

// refusal returns the cause of a handshake that was answered with a status other than 101: the status, followed by the
// error code if the body contains one in JSON.
func refusal(status int, body []byte) string {
	if status == http.StatusBadRequest && bytes.HasPrefix(body, []byte("this port speaks TLS")) {
		return causeTLS
	}
	text := fmt.Sprintf("http %d", status)
	if code := errorCode(body); code != "" {
		text += " " + code
	}
	return text
}

// codeWord matches the error codes that may appear in a report.
var codeWord = regexp.MustCompile(`^[\w.-]{1,40}$`)

// errorCode returns the code in {"error":{"code":…}}, {"error":{"type":…}}, {"error":…} or {"code":…}.
func errorCode(body []byte) string {
	var top map[string]any
	if json.Unmarshal(body, &top) != nil {
		return ""
	}
	candidates := []any{top["error"], top["code"]}
	if inner, ok := top["error"].(map[string]any); ok {
		candidates = []any{inner["code"], inner["type"], top["code"]}
	}
	for _, c := range candidates {
		switch c := c.(type) {
		case string:
			if codeWord.MatchString(c) {
				return c
			}
		case float64:
			return fmt.Sprintf("%.0f", c)
		}
	}
	return ""
}
