// Package memstore keeps sessions in the memory of one process. It is the store that a server uses unless it is told
// otherwise, in its primary; tests of applications can use it, too.
//
// A session takes about 200 bytes. Records have no pointers, so that the garbage collector does not visit them one by
// one: users, machines and parameters are stored once in tables, and records refer to them by number.
package memstore
