package remotestore

import (
	"context"
	"fmt"
	"time"

	"github.com/expedite-go/expedite/internal/sessionwire"
	"github.com/expedite-go/expedite/session"
)

// Serve answers one request of a [Client] with the help of store, and waits for that as long as ctx lets it. A request
// that makes no sense is answered so. It keeps nothing of it.
func Serve(ctx context.Context, store session.Store, request []byte) (answer []byte) {
	if len(request) < 2 || request[0] != wireVersion {
		return appendError(nil, fmt.Errorf("%w: unknown version", errRequest))
	}
	r := newReader(request[2:])
	result, err := serve(ctx, store, request[1], r)
	if err != nil {
		return appendError(nil, err)
	}
	return append([]byte{codeOK}, result...)
}

// serve does what one request wants. The arguments are read to their end before anything is done.
func serve(ctx context.Context, store session.Store, op byte, r *reader) ([]byte, error) {
	switch op {
	case opAttach, opReserve, opClaim:
		return serveAttach(ctx, store, op, r)
	case opDetach, opDiscard:
		end := store.Detach
		if op == opDiscard {
			end = store.Discard
		}
		refs := r.Refs()
		return answer(r, func() ([]byte, error) { return nil, end(ctx, refs) })
	case opTouch:
		refs := r.Refs()
		return answer(r, func() ([]byte, error) {
			lost, err := store.Touch(ctx, refs)
			return sessionwire.AppendRefs(nil, lost), err
		})
	case opRestore:
		list := make([]session.Saved, r.Count(len(session.ID{}), session.MaxBatch))
		for i := range list {
			list[i] = r.Saved()
		}
		return answer(r, func() ([]byte, error) {
			superseded, err := store.Restore(ctx, list)
			return sessionwire.AppendIDs(nil, superseded), err
		})
	case opPutTicket, opTakeTicket:
		return serveTicket(ctx, store, op, r)
	default:
		return serveNamed(ctx, store, op, r)
	}
}

// serveAttach gives a connection its session.
func serveAttach(ctx context.Context, store session.Store, op byte, r *reader) ([]byte, error) {
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

// serveNamed does what is wanted of one session, or of those of one user.
func serveNamed(ctx context.Context, store session.Store, op byte, r *reader) ([]byte, error) {
	switch op {
	case opLoad:
		id := r.ID()
		return answer(r, func() ([]byte, error) {
			values, err := store.Load(ctx, id)
			return sessionwire.AppendValues(nil, values), err
		})
	case opSave:
		id, changes := r.ID(), r.Changes()
		return answer(r, func() ([]byte, error) { return nil, store.Save(ctx, id, changes) })
	case opFind:
		id := r.ID()
		return answer(r, func() ([]byte, error) {
			s, err := store.Find(ctx, id)
			return sessionwire.AppendSession(nil, s), err
		})
	case opList, opListPage:
		user := r.Text()
		var page session.Page
		if op == opListPage {
			page = r.page()
		}
		return answer(r, func() ([]byte, error) {
			list, err := store.List(ctx, user, page)
			return sessionwire.AppendSessions(nil, list), err
		})
	case opDrop:
		ids := r.IDs()
		return answer(r, func() ([]byte, error) {
			dropped, err := store.Drop(ctx, ids...)
			return sessionwire.AppendSessions(nil, dropped), err
		})
	default:
		return nil, fmt.Errorf("%w: operation %d", errRequest, op)
	}
}

func serveTicket(ctx context.Context, store session.Store, op byte, r *reader) ([]byte, error) {
	var key [32]byte
	copy(key[:], r.Bytes(uint64(len(key))))
	if op == opTakeTicket {
		return answer(r, func() ([]byte, error) {
			value, err := store.TakeTicket(ctx, key)
			return sessionwire.AppendText(nil, value), err
		})
	}
	ttl, value := time.Duration(r.Int()), r.Bytes(r.Uint())
	return answer(r, func() ([]byte, error) { return nil, store.PutTicket(ctx, key, value, ttl) })
}

// answer calls do if the arguments were understood.
func answer(r *reader, do func() ([]byte, error)) ([]byte, error) {
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", errRequest, err)
	}
	return do()
}
