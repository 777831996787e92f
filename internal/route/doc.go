// Package route matches the paths of requests against patterns, in the syntax of http.ServeMux without methods and
// hosts.
//
//	/chat              matches /chat
//	/room/{id}         matches /room/7: a wildcard matches one segment that is not empty
//	/files/{rest...}   matches /files/, /files/a and /files/a/b: the rest, which may be empty
//	/docs/             matches /docs/ only; /docs/{$} is the same pattern
//
// Unlike in a ServeMux, a slash at the end matches only itself, and paths are not cleaned: a path with an empty segment
// before its end, or with a segment that is . or .., matches nothing. Percent-encoded dots count as dots. RFC 3986
// §5.2.4, §6.2.2.2.
//
// A path is matched as it is in the request line. Its segments are decoded one by one, so that %2F is part of a segment
// and separates nothing.
//
// If several patterns match a path, the most specific one wins. A set of patterns in which that is not clear for every
// path is an error.
package route
