package ws

import (
	"strconv"
	"strings"
)

// parseFraming determines the length of the body. It rejects what two servers might read differently, because a request
// could then be smuggled in the body of another. RFC 9112 §6.
func (r *Request) parseFraming() error {
	lengths, codings := r.Values("Content-Length"), r.Values("Transfer-Encoding")
	switch {
	case len(codings) > 0 && len(lengths) > 0: // §6.1
		return badRequest("want Content-Length or Transfer-Encoding, not both")
	case len(codings) > 0 && r.Minor == 0: // §6.1
		return badRequest("want no Transfer-Encoding in HTTP/1.0")
	case len(codings) > 1:
		return badRequest("want one Transfer-Encoding")
	case len(codings) == 1 && !strings.EqualFold(codings[0], "chunked"):
		return &HandshakeError{Status: statusNotImplemented, Reason: "want chunked as Transfer-Encoding"}
	case len(codings) == 1:
		r.ContentLength = -1
		return nil
	case len(lengths) == 0:
		return nil
	}
	n, err := strconv.ParseUint(lengths[0], 10, 63)
	if len(lengths) > 1 || err != nil {
		return badRequest("want one number as Content-Length")
	}
	r.ContentLength = int64(n)
	return nil
}
