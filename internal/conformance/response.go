package conformance

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"strconv"
	"strings"
)

// Response is an answer to a request.
type Response struct {
	Status int
	Proto  string
	Header http.Header // as received: http.ReadResponse would remove Connection
	Body   string
}

// maxBody is the longest body of a response that is read.
const maxBody = 1 << 20

// readResponse reads the next response that is not 100. That to a HEAD has no content. RFC 9112 §4, §6.
func readResponse(br *bufio.Reader, head bool) (*Response, error) {
	for {
		tp := textproto.NewReader(br)
		line, err := tp.ReadLine()
		if err != nil {
			return nil, err
		}
		proto, rest, _ := strings.Cut(line, " ")
		code, _, _ := strings.Cut(rest, " ")
		status, err := strconv.Atoi(code)
		if err != nil || len(code) != 3 || proto != "HTTP/1.1" && proto != "HTTP/1.0" {
			return nil, broke("status line %.100q (RFC 9112 §4)", line)
		}
		fields, err := tp.ReadMIMEHeader()
		if err != nil {
			return nil, fmt.Errorf("in the head of a response: %w", err)
		}
		r := &Response{Status: status, Proto: proto, Header: http.Header(fields)}
		switch {
		case status == http.StatusContinue:
			continue
		case status == http.StatusSwitchingProtocols, head:
			return r, nil
		}
		return r, r.readBody(br)
	}
}

func (r *Response) readBody(br *bufio.Reader) error {
	lengths := r.Header.Values("Content-Length")
	var body io.Reader
	switch {
	case r.Status == http.StatusNoContent, r.Status == http.StatusNotModified:
		return nil
	case hasToken(r.Header.Values("Transfer-Encoding"), "chunked"):
		body = httputil.NewChunkedReader(br)
	case len(lengths) > 0:
		n, err := strconv.ParseUint(lengths[0], 10, 31)
		if err != nil || len(lengths) > 1 {
			return broke("Content-Length: %q (RFC 9112 §6.2)", lengths)
		}
		body = io.LimitReader(br, int64(n))
	default:
		body = br // up to the end of the connection
	}
	b, err := io.ReadAll(io.LimitReader(body, maxBody))
	r.Body = string(b)
	if err == nil && len(lengths) > 0 && strconv.Itoa(len(b)) != lengths[0] {
		err = io.ErrUnexpectedEOF
	}
	if err == nil && hasToken(r.Header.Values("Transfer-Encoding"), "chunked") {
		_, err = textproto.NewReader(br).ReadMIMEHeader() // the trailer, and the empty line
	}
	if err != nil {
		return fmt.Errorf("in the body of a response: %w", err)
	}
	return nil
}
