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
// Window bits from 8 to 15 are honoured exactly: Compress never refers further back than 2^bits bytes. zlib, on which
// many peers build, raises 8 to 9 when it compresses, but then its references stay within 250 bytes.
package deflate
