package expedite

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/admin"
	"github.com/expedite-go/expedite/internal/rpc"
)

const (
	// maxProfile is the largest profile of a worker in bytes, and maxProfiles how many it makes or keeps at a time.
	maxProfile, maxProfiles = 64 << 20, 2
	// profilePart is how much of one travels in a message.
	profilePart = 256 << 10
	// profileTimeout is how long one may take, and profilePartTimeout how long each part, which is asked for again
	// profileTries times.
	profileTimeout, profilePartTimeout, profileTries = 90 * time.Second, 2 * time.Second, 5
)

// profileRequest asks a worker for a profile, under a number that the primary chooses.
type profileRequest struct {
	ID    uint64 `json:"id"`
	Path  string `json:"path"`
	Query string `json:"query"`
}

// profileHead is the answer but for its body, which is fetched in parts.
type profileHead struct {
	Status int         `json:"status"`
	Header http.Header `json:"header"`
	Size   int         `json:"size"`
}

// profiles are those that a worker makes, or has made and the primary is fetching. Any goroutine.
type profiles struct {
	mu   sync.Mutex
	list map[uint64]*profile

	refused atomic.Uint64 // because there were too many, or one was too large
}

// profile is an http.ResponseWriter. Its body is complete before anybody fetches it.
type profile struct {
	cancel context.CancelFunc
	header http.Header
	status int
	body   bytes.Buffer
}

// Header is part of http.ResponseWriter.
func (p *profile) Header() http.Header { return p.header }

// WriteHeader is part of http.ResponseWriter.
func (p *profile) WriteHeader(status int) {
	if p.status == 0 {
		p.status = status
	}
}

// Write is part of http.ResponseWriter. It fails beyond maxProfile.
func (p *profile) Write(b []byte) (int, error) {
	p.WriteHeader(http.StatusOK)
	if p.body.Len()+len(b) > maxProfile {
		p.status = http.StatusInsufficientStorage
		return 0, errors.New("expedite: the profile is too large")
	}
	return p.body.Write(b)
}

// serve makes a profile, and keeps it until it is forgotten. done ends everything. It may take as long as is asked for.
func (l *profiles) serve(done <-chan struct{}, payload []byte) ([]byte, error) {
	var req profileRequest
	if err := json.Unmarshal(payload, &req); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), profileTimeout)
	p := &profile{cancel: cancel, header: make(http.Header)}
	l.mu.Lock()
	if len(l.list) >= maxProfiles {
		l.mu.Unlock()
		cancel()
		l.refused.Add(1)
		return json.Marshal(profileHead{Status: http.StatusServiceUnavailable})
	}
	if l.list == nil {
		l.list = make(map[uint64]*profile)
	}
	l.list[req.ID] = p
	l.mu.Unlock()
	go func() { // ends with the profile's time, forget, or done
		select {
		case <-ctx.Done():
		case <-done:
		}
		l.forget(req.ID)
	}()
	r := &http.Request{
		Method: http.MethodGet, URL: &url.URL{Path: req.Path, RawQuery: req.Query}, Header: make(http.Header),
		Host: "localhost", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody,
	}
	admin.ServeProfile(p, r.WithContext(ctx))
	p.WriteHeader(http.StatusOK)
	if p.status == http.StatusInsufficientStorage {
		l.refused.Add(1)
		p.body = bytes.Buffer{}
		fmt.Fprintf(&p.body, "the profile is larger than %d bytes: ask for fewer seconds\n", maxProfile)
		p.header = http.Header{"Content-Type": {"text/plain; charset=utf-8"}}
	}
	return json.Marshal(profileHead{Status: p.status, Header: p.header, Size: p.body.Len()})
}

// part is a part of a profile that was made: its number (8) and where it begins (8) are in the request.
func (l *profiles) part(payload []byte) ([]byte, error) {
	if len(payload) != 16 {
		return nil, errors.New("bad request")
	}
	l.mu.Lock()
	p := l.list[binary.LittleEndian.Uint64(payload)]
	l.mu.Unlock()
	at := binary.LittleEndian.Uint64(payload[8:])
	if p == nil || at > uint64(p.body.Len()) {
		return nil, errors.New("there is no such profile")
	}
	rest := p.body.Bytes()[at:]
	return rest[:min(len(rest), profilePart)], nil
}

// forget ends a profile.
func (l *profiles) forget(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.list[id]; p != nil {
		p.cancel()
		delete(l.list, id)
	}
}

// profile serves a profile of a worker.
func (p *primary) profile(w http.ResponseWriter, r *http.Request, slot int) {
	peer := p.peerIn(slot)
	if peer == nil {
		http.Error(w, fmt.Sprintf("there is no worker %d", slot), http.StatusNotFound)
		return
	}
	began := false
	err := fetchProfile(r, peer, func(head profileHead) {
		began = true
		if head.Status == http.StatusServiceUnavailable && head.Size == 0 {
			http.Error(w, fmt.Sprintf("worker %d makes %d profiles already", slot, maxProfiles), head.Status)
			return
		}
		maps.Copy(w.Header(), head.Header)
		w.Header().Del("Content-Length")
		w.WriteHeader(head.Status)
	}, func(part []byte) error {
		if r.URL.Path == "/debug/pprof/" { // its links lead to the same worker
			part = bytes.ReplaceAll(part, []byte("?debug="), fmt.Appendf(nil, "?worker=%d&debug=", slot))
		}
		_, err := w.Write(part)
		return err
	})
	switch {
	case err == nil:
	case began:
		panic(http.ErrAbortHandler) // so that nobody takes what has come for all
	default:
		http.Error(w, fmt.Sprintf("worker %d: %v", slot, err), http.StatusBadGateway)
	}
}

// peerIn is the way to the latest worker of a slot that serves; nil if there is none.
func (p *primary) peerIn(slot int) *rpc.Peer {
	group := p.group.Load()
	if group == nil {
		return nil
	}
	var latest *cluster.Worker
	for _, w := range group.Workers() {
		if w.Slot() == slot && w.State() != cluster.StateStarting && w.State() != cluster.StateDead {
			latest = w
		}
	}
	if latest == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.peers[latest.ID()]
}

// fetchProfile has a worker make a profile, and fetches it part by part.
func fetchProfile(r *http.Request, peer *rpc.Peer, begin func(profileHead), write func([]byte) error) error {
	ctx, cancel := context.WithTimeout(r.Context(), profileTimeout)
	defer cancel()
	q := r.URL.Query()
	q.Del("worker")
	req := profileRequest{ID: rand.Uint64(), Path: r.URL.Path, Query: q.Encode()}
	b, err := json.Marshal(req)
	if err != nil {
		return err
	}
	id := binary.LittleEndian.AppendUint64(nil, req.ID)
	defer func() { _ = peer.Tell(opProfileEnd, id) }() // else it ends with its time
	if b, err = peer.Call(ctx, opProfile, b); err != nil {
		return err
	}
	var head profileHead
	if err = json.Unmarshal(b, &head); err != nil {
		return err
	}
	begin(head)
	for at := 0; at < head.Size; at += len(b) {
		if b, err = fetchPart(ctx, peer, binary.LittleEndian.AppendUint64(id, uint64(at))); err != nil {
			return err
		}
		if err = write(b); err != nil {
			return err
		}
	}
	return nil
}

// fetchPart fetches one part, and asks again if the way there or back is full.
func fetchPart(ctx context.Context, peer *rpc.Peer, request []byte) (b []byte, err error) {
	for range profileTries {
		part, cancel := context.WithTimeout(ctx, profilePartTimeout)
		b, err = peer.Call(part, opProfilePart, request)
		cancel()
		switch {
		case err == nil && len(b) > 0:
			return b, nil
		case err == nil:
			return nil, errors.New("the profile has changed")
		case ctx.Err() != nil || errors.Is(err, rpc.ErrFailed) || errors.Is(err, rpc.ErrClosed):
			return nil, err
		}
	}
	return nil, err
}

var _ http.ResponseWriter = (*profile)(nil)
