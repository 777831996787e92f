package remotestore

import (
	"context"
	"fmt"

	"github.com/expedite-go/expedite/internal/record"
	"github.com/expedite-go/expedite/internal/sessionwire"
	"github.com/expedite-go/expedite/session"
)

// Serve answers one request of a [Store] at the other end. It waits for store for as long as ctx allows, and keeps no
// part of the request. The answer to a malformed request is an error.
func Serve(ctx context.Context, store session.Store, request []byte) (answer []byte) {
	if len(request) < 2 || request[0] != wireVersion {
		return appendError(nil, fmt.Errorf("%w: unknown version", errRequest))
	}
	do := parse(store, request[1], newDecoder(request[2:]))
	result, err := do(ctx)
	if err != nil {
		return appendError(nil, err)
	}
	return append([]byte{codeOK}, result...)
}

// operation does what one request asks for, and returns the result for the answer.
type operation func(ctx context.Context) ([]byte, error)

// parse returns the operation of a request. It reads all arguments first, so that a malformed request does nothing.
func parse(store session.Store, op byte, d *decoder) (do operation) {
	switch op {
	case opAttach, opReserve, opClaim:
		do = parseAttach(store, op, d)
	case opDetach, opDiscard, opTouch, opRestore:
		do = parseBatch(store, op, d)
	case opLoad, opLoadKeys, opSave:
		do = parseValues(store, op, d)
	case opFind, opFindMany, opList, opListPage, opDrop:
		do = parseLookup(store, op, d)
	case opPutTicket, opTakeTicket:
		do = parseTicket(store, op, d)
	default:
		return failed(fmt.Errorf("%w: operation %d", errRequest, op))
	}
	if err := d.End(); err != nil {
		return failed(fmt.Errorf("%w: %w", errRequest, err))
	}
	return do
}

// failed returns an operation that fails.
func failed(err error) operation { return func(context.Context) ([]byte, error) { return nil, err } }

func parseAttach(store session.Store, op byte, d *decoder) operation {
	a := d.attach()
	return func(ctx context.Context) ([]byte, error) {
		switch op {
		case opReserve:
			done, err := store.Attach(ctx, a)
			return appendReserved(nil, done), err
		case opClaim:
			done, err := store.Claim(ctx, a)
			return appendClaimed(nil, done), err
		default:
			done, err := attachAndClaim(ctx, store, a)
			return appendAttached(nil, done), err
		}
	}
}

// attachAndClaim serves workers of earlier releases, which do not claim.
func attachAndClaim(ctx context.Context, store session.Store, a session.Attach) (session.Attached, error) {
	done, err := store.Attach(ctx, a)
	a.ID = done.Session.ID
	for pending := done.Pending; pending && err == nil; {
		var more session.Attached
		more, err = store.Claim(ctx, a)
		if done.Replaced.IsZero() {
			done.Replaced = more.Replaced
		}
		done.Session, done.Evicted, pending = more.Session, append(done.Evicted, more.Evicted...), more.Pending
	}
	done.Pending = false
	return done, err
}

func parseBatch(store session.Store, op byte, d *decoder) operation {
	if op == opRestore {
		list := d.SavedList()
		return func(ctx context.Context) ([]byte, error) {
			superseded, err := store.Restore(ctx, list)
			return sessionwire.AppendIDs(nil, superseded), err
		}
	}
	refs := d.Refs()
	return func(ctx context.Context) ([]byte, error) {
		switch op {
		case opDetach:
			return nil, store.Detach(ctx, refs)
		case opDiscard:
			return nil, store.Discard(ctx, refs)
		default:
			lost, err := store.Touch(ctx, refs)
			return sessionwire.AppendRefs(nil, lost), err
		}
	}
}

func parseValues(store session.Store, op byte, d *decoder) operation {
	id := d.ID()
	if op == opSave {
		changes := d.Changes()
		return func(ctx context.Context) ([]byte, error) { return nil, store.Save(ctx, id, changes) }
	}
	var keys []string
	if op == opLoadKeys {
		keys = d.Keys()
	}
	return func(ctx context.Context) ([]byte, error) {
		values, err := store.Load(ctx, id, keys...)
		return sessionwire.AppendValues(nil, values), err
	}
}

func parseLookup(store session.Store, op byte, d *decoder) operation {
	switch op {
	case opFind:
		id := d.ID()
		return func(ctx context.Context) ([]byte, error) {
			found, err := store.Find(ctx, id)
			if err != nil {
				return nil, err
			}
			if len(found) == 0 {
				return nil, session.ErrNotFound
			}
			return sessionwire.AppendSession(nil, found[0]), nil
		}
	case opFindMany:
		ids := d.IDs()
		return func(ctx context.Context) ([]byte, error) {
			found, err := store.Find(ctx, ids...)
			return sessionwire.AppendSessions(nil, found), err
		}
	case opDrop:
		ids := d.IDs()
		return func(ctx context.Context) ([]byte, error) {
			dropped, err := store.Drop(ctx, ids...)
			return sessionwire.AppendSessions(nil, dropped), err
		}
	default:
		user := d.String()
		var page session.Page
		if op == opListPage {
			page = d.page()
		}
		return func(ctx context.Context) ([]byte, error) {
			list, err := store.List(ctx, user, page)
			return sessionwire.AppendSessions(nil, list), err
		}
	}
}

func parseTicket(store session.Store, op byte, d *decoder) operation {
	var key [32]byte
	copy(key[:], d.Bytes(uint64(len(key))))
	if op == opTakeTicket {
		return func(ctx context.Context) ([]byte, error) {
			value, err := store.TakeTicket(ctx, key)
			return record.AppendText(nil, value), err
		}
	}
	ttl, value := d.Duration(), d.Text()
	return func(ctx context.Context) ([]byte, error) { return nil, store.PutTicket(ctx, key, value, ttl) }
}
