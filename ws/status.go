package ws

// The HTTP status codes of opening handshakes. RFC 9110 §15.
const (
	statusBadRequest       = 400
	statusMethodNotAllowed = 405
	statusUpgradeRequired  = 426
	statusFieldsTooLarge   = 431
	statusNotImplemented   = 501
	statusVersion          = 505
)

// statusText returns the reason phrase of a status. Programs ignore it: RFC 9112 §4.
func statusText(code int) string {
	switch code {
	case statusBadRequest:
		return "Bad Request"
	case 401:
		return "Unauthorized"
	case 403:
		return "Forbidden"
	case 404:
		return "Not Found"
	case statusMethodNotAllowed:
		return "Method Not Allowed"
	case 408:
		return "Request Timeout"
	case statusUpgradeRequired:
		return "Upgrade Required"
	case 429:
		return "Too Many Requests"
	case statusFieldsTooLarge:
		return "Request Header Fields Too Large"
	case 500:
		return "Internal Server Error"
	case statusNotImplemented:
		return "Not Implemented"
	case 503:
		return "Service Unavailable"
	case statusVersion:
		return "HTTP Version Not Supported"
	default:
		return "Refused"
	}
}
