// Package proxyproto parses the headers of the PROXY protocol, versions 1 and 2, with which a proxy names the client of
// a connection that it relays. It reads no sockets: the caller collects bytes and calls Parse until the header is
// complete. The specification is doc/proxy-protocol.txt of HAProxy; comments cite its sections.
package proxyproto
