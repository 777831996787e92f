// Package registry keeps the state that all workers of a machine share: the deny list, the sessions of the memory
// store, the keys of token providers, the health of what lies outside of the machine, and the subscribers of log lines.
//
// A [Server] lives in the primary, a [Client] in each worker. They talk over an internal/rpc link:
//
//	worker → primary: what must I know before I serve? requests of the session store, commands, keys
//	primary → worker: orders, revocations, health; questions about connections, reports and profiles
//
// An order ("close the connections of this user, and keep the user out until then") takes one way: [Server.Command]
// puts it on the deny list and into the state directory, publishes it to the other machines through Redis, and has
// every worker carry it out. Other machines receive it in their feed and have their workers carry it out.
//
// Primary and workers may be of different releases: operation numbers and JSON fields never change their meaning.
//
// All methods are safe for concurrent use unless they say otherwise.
package registry
