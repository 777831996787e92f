package registry

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/internal/rpc"
)

const (
	// maxProfile is the largest profile of a worker in bytes.
	maxProfile = 64 << 20
	// MaxProfiles is the number of profiles that a worker makes or keeps at a time.
	MaxProfiles = 2
	// profilePart is the size of the parts in which a profile travels.
	profilePart = 256 << 10
	// profileTimeout bounds the making of a profile, and profilePartTimeout each attempt to fetch a part.
	profileTimeout, profilePartTimeout, profileTries = 90 * time.Second, 2 * time.Second, 5
)

// profileRequest asks a worker for a profile, under a number that the primary chooses.
type profileRequest struct {
	ID    uint64 `json:"id"`
	Path  string `json:"path"`
	Query string `json:"query"`
}

// ProfileHead is the answer without its body.
type ProfileHead struct {
	Status int         `json:"status"`
	Header http.Header `json:"header"`
	Size   int         `json:"size"`
}

// Profile has the worker make the profile that r asks for, and fetches it part by part. Begin is called before the
// first part; an error after that means that the profile is incomplete.
func (w *Worker) Profile(r *http.Request, begin func(ProfileHead), write func([]byte) error) error {
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
	defer func() { _ = w.peer.Tell(opProfileEnd, id) }() // if it is lost, the profile ends with its time
	if b, err = w.peer.Call(ctx, opProfile, b); err != nil {
		return err
	}
	var head ProfileHead
	if err = json.Unmarshal(b, &head); err != nil {
		return err
	}
	begin(head)
	for at := 0; at < head.Size; at += len(b) {
		if b, err = w.profilePart(ctx, binary.LittleEndian.AppendUint64(id, uint64(at))); err != nil {
			return err
		}
		if err = write(b); err != nil {
			return err
		}
	}
	return nil
}

// profilePart fetches one part. If the link is full in one of its directions it tries again.
func (w *Worker) profilePart(ctx context.Context, request []byte) (b []byte, err error) {
	for range profileTries {
		part, cancel := context.WithTimeout(ctx, profilePartTimeout)
		b, err = w.peer.Call(part, opProfilePart, request)
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

// profiles are those that a worker makes, or has made while the primary fetches them.
type profiles struct {
	handler http.Handler // makes them

	mu   sync.Mutex
	list map[uint64]*profile

	refused atomic.Uint64 // there were too many, or one was too large
}

// profile is an http.ResponseWriter. Its body is complete before anybody fetches it.
type profile struct {
	cancel context.CancelFunc
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (p *profile) Header() http.Header { return p.header }

// WriteHeader implements http.ResponseWriter: the first status counts.
func (p *profile) WriteHeader(status int) {
	if p.status == 0 {
		p.status = status
	}
}

// Write implements http.ResponseWriter. It fails beyond maxProfile.
func (p *profile) Write(b []byte) (int, error) {
	p.WriteHeader(http.StatusOK)
	if p.body.Len()+len(b) > maxProfile {
		p.status = http.StatusInsufficientStorage
		return 0, errors.New("expedite: the profile is too large")
	}
	return p.body.Write(b)
}

// serve makes a profile and keeps it until forget, its time, or done. It blocks for as long as the profile takes.
func (l *profiles) serve(done <-chan struct{}, payload []byte) ([]byte, error) {
	var req profileRequest
	if err := json.Unmarshal(payload, &req); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), profileTimeout)
	p := &profile{cancel: cancel, header: make(http.Header)}
	l.mu.Lock()
	if len(l.list) >= MaxProfiles {
		l.mu.Unlock()
		cancel()
		l.refused.Add(1)
		return json.Marshal(ProfileHead{Status: http.StatusServiceUnavailable})
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
	l.handler.ServeHTTP(p, r.WithContext(ctx))
	p.WriteHeader(http.StatusOK)
	if p.status == http.StatusInsufficientStorage {
		l.refused.Add(1)
		p.body = bytes.Buffer{}
		fmt.Fprintf(&p.body, "the profile is larger than %d bytes: ask for fewer seconds\n", maxProfile)
		p.header = http.Header{"Content-Type": {"text/plain; charset=utf-8"}}
	}
	return json.Marshal(ProfileHead{Status: p.status, Header: p.header, Size: p.body.Len()})
}

// part returns a part of a profile. The payload is its number (8) and the offset of the part (8).
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

var _ http.ResponseWriter = (*profile)(nil)
