// Package record encodes and decodes lists of tagged records, the format of everything that travels with a connection
// from one worker to the next.
//
// A record is a tag (1 byte), the length of its value (uvarint) and the value. A decoder may skip an unknown tag from
// Optional on; an unknown tag below Optional is an error. A newer version can thus add records that older versions
// ignore, and records that they must refuse.
//
// Which tags exist, and whether one may occur twice, is up to the caller. So is the version number that usually
// precedes the list.
//
// Decoders read from a string as well as from a byte slice. Nothing in this package allocates unless dst has to grow.
package record
