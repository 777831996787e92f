// Package deflate implements the permessage-deflate extension (RFC 7692) as pure code. It uses no network and no clock,
// and starts no goroutines.
//
// Negotiation: a server passes a client's offers to Config.Accept and sends the answer in ws.Handshake.Extensions. A
// client sends Config.Offer in ws.ClientRequest.Extensions and passes the answer to Config.Agreed. Both get the same
// Params.
//
// Messages: Codec.Compress makes the payload of a message with RSV1 set, and Codec.Decompress reads it. No state is
// kept between messages. With context takeover, the caller stores the end of the earlier messages in a Window per
// direction and passes it as the dictionary. Every compressed message of the direction has to be appended, in order,
// also those that were compressed without a dictionary. Messages without RSV1 are not appended.
//
// Window bits from 8 to 15 are honoured exactly: Compress never refers further back than 2^bits bytes. RFC 7692 has 8
// as its smallest value, but zlib cannot compress raw data with it; Node.js uses 9 in its place. The references of zlib
// stay 262 bytes below the size of its window, so that its messages fit in 8 bits all the same.
package deflate
