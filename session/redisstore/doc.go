// Package redisstore keeps sessions in Redis, which any number of machines can share.
//
// With a prefix before each key, {tag}:s:ID is a session, a hash with its values; {tag}:u:USER is the sorted set of the
// sessions of a user; {t:KEY} is a ticket. The braces make a cluster keep all keys of a user in one slot. Each key
// expires. Each method is one round trip, in which scripts do what must be atomic; batches and the resumption of an
// anonymous session may take more.
package redisstore
