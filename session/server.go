package session

import (
	"context"
	"fmt"
	"time"
)

// Serve answers one request of a [Client] with the help of store, and waits for that as long as ctx lets it. A request
// that makes no sense is answered so. It keeps nothing of it.
func Serve(ctx context.Context, store Store, request []byte) (answer []byte) {
	if len(request) < 2 || request[0] != wireVersion {
		return appendError(nil, fmt.Errorf("%w: unknown version", errRequest))
	}
	r := &reader{rest: request[2:]}
	result, err := serve(ctx, store, request[1], r)
	if err != nil {
		return appendError(nil, err)
	}
	return append([]byte{codeOK}, result...)
}

// serve does what one request wants. The arguments are read to their end before anything is done.
func serve(ctx context.Context, store Store, op byte, r *reader) ([]byte, error) {
	switch op {
	case opAttach, opReserve, opClaim:
		return serveAttach(ctx, store, op, r)
	case opDetach, opDiscard:
		end := store.Detach
		if op == opDiscard {
			end = store.Discard
		}
		refs := r.refs()
		return answer(r, func() ([]byte, error) { return nil, end(ctx, refs) })
	case opTouch:
		refs := r.refs()
		return answer(r, func() ([]byte, error) {
			lost, err := store.Touch(ctx, refs)
			return appendRefs(nil, lost), err
		})
	case opRestore:
		list := make([]Saved, r.count(len(ID{}), MaxBatch))
		for i := range list {
			list[i] = r.saved()
		}
		return answer(r, func() ([]byte, error) {
			superseded, err := store.Restore(ctx, list)
			return appendIDs(nil, superseded), err
		})
	case opPutTicket, opTakeTicket:
		return serveTicket(ctx, store, op, r)
	default:
		return serveNamed(ctx, store, op, r)
	}
}

// serveAttach gives a connection its session.
func serveAttach(ctx context.Context, store Store, op byte, r *reader) ([]byte, error) {
	a := r.attach()
	return answer(r, func() ([]byte, error) {
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
	})
}

// attachAndClaim is for those that do not know of Claim.
func attachAndClaim(ctx context.Context, store Store, a Attach) (Attached, error) {
	done, err := store.Attach(ctx, a)
	a.ID = done.Session.ID
	for pending := done.Pending; pending && err == nil; {
		var more Attached
		more, err = store.Claim(ctx, a)
		if done.Replaced.IsZero() {
			done.Replaced = more.Replaced
		}
		done.Session, done.Evicted, pending = more.Session, append(done.Evicted, more.Evicted...), more.Pending
	}
	done.Pending = false
	return done, err
}

// serveNamed does what is wanted of one session, or of those of one user.
func serveNamed(ctx context.Context, store Store, op byte, r *reader) ([]byte, error) {
	switch op {
	case opLoad:
		id := r.id()
		return answer(r, func() ([]byte, error) {
			values, err := store.Load(ctx, id)
			return appendValues(nil, values), err
		})
	case opSave:
		id, changes := r.id(), r.changes()
		return answer(r, func() ([]byte, error) { return nil, store.Save(ctx, id, changes) })
	case opFind:
		id := r.id()
		return answer(r, func() ([]byte, error) {
			s, err := store.Find(ctx, id)
			return appendSession(nil, s), err
		})
	case opList, opListPage:
		user := r.text()
		var page Page
		if op == opListPage {
			page = r.page()
		}
		return answer(r, func() ([]byte, error) {
			list, err := store.List(ctx, user, page)
			return appendSessions(nil, list), err
		})
	case opDrop:
		ids := r.ids()
		return answer(r, func() ([]byte, error) {
			dropped, err := store.Drop(ctx, ids...)
			return appendSessions(nil, dropped), err
		})
	default:
		return nil, fmt.Errorf("%w: operation %d", errRequest, op)
	}
}

func serveTicket(ctx context.Context, store Store, op byte, r *reader) ([]byte, error) {
	var key [32]byte
	copy(key[:], r.bytes(uint64(len(key))))
	if op == opTakeTicket {
		return answer(r, func() ([]byte, error) {
			value, err := store.TakeTicket(ctx, key)
			return appendText(nil, value), err
		})
	}
	ttl, value := time.Duration(r.int()), r.bytes(r.uint())
	return answer(r, func() ([]byte, error) { return nil, store.PutTicket(ctx, key, value, ttl) })
}

// answer calls do if the arguments were understood.
func answer(r *reader, do func() ([]byte, error)) ([]byte, error) {
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("%w: %w", errRequest, err)
	}
	return do()
}
