package engine

import (
	"crypto/rand"
	"encoding/base64"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/internal/idtable"
)

// sessions finds a session by its sid, from any goroutine. It is cut into
// shards so that loops do not wait for each other.
type sessions struct {
	// Any goroutine (atomic).
	count atomic.Int64

	shards [64]struct {
		// Guarded by mu.
		mu sync.Mutex
		m  idtable.Table[*Session]
	}
}

func (t *sessions) init() {
	for i := range t.shards {
		t.shards[i].m = idtable.New((*Session).ID)
	}
}

func (t *sessions) shard(sid string) int {
	// The last characters: all of them are random, or a sequence.
	n := len(sid)
	if n < 2 {
		return 0
	}
	return int(sid[n-1]^sid[n-2]<<3) % len(t.shards)
}

// get finds a session; nil if there is none.
func (t *sessions) get(sid string) *Session {
	h := &t.shards[t.shard(sid)]
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.m.Get(sid)
}

// reserve reserves a place for a session, which add takes or release gives back; false
// if there are as many as there may be.
func (t *sessions) reserve(limit int) bool {
	if t.count.Add(1) > int64(limit) {
		t.count.Add(-1)
		return false
	}
	return true
}

func (t *sessions) release() { t.count.Add(-1) }

// add enters a session, for which there must be a reservation; false if the sid is
// taken.
func (t *sessions) add(s *Session) bool {
	h := &t.shards[t.shard(s.ID())]
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.m.Add(s) {
		return false
	}
	s.loop.Group().Memory().Add(s.memory())
	return true
}

func (t *sessions) remove(s *Session) {
	h := &t.shards[t.shard(s.ID())]
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.m.Remove(s) {
		t.count.Add(-1)
		s.loop.Group().Memory().Add(-s.memory())
	}
}

func (t *sessions) len() int { return int(t.count.Load()) }

// sessionBytes is what a session takes with what the layer above keeps for it, but
// for its head.
const sessionBytes = 640

func (s *Session) memory() int { return sessionBytes + len(s.request.data) }

// each calls f for every session, without holding a lock.
func (t *sessions) each(f func(*Session)) {
	for i := range t.shards {
		h := &t.shards[i]
		h.mu.Lock()
		list := make([]*Session, 0, h.m.Len())
		h.m.All(func(s *Session) { list = append(list, s) })
		h.mu.Unlock()
		for _, s := range list {
			f(s)
		}
	}
}

// maxIDBytes bounds what Config.GenerateID may return.
const maxIDBytes = 1024

const idBytes = 20

// NewID returns 120 random bits as 20 characters that are safe in a URL: the
// form of the reference server's ids.
func NewID() string { return NewIDWith("") }

// NewIDWith is NewID, whose first characters are those of prefix: each of them takes six
// random bits.
func NewIDWith(prefix string) string {
	var b [idBytes]byte
	return string(appendID(b[:0], prefix))
}

func appendID(dst []byte, prefix string) []byte {
	var b [15]byte
	_, _ = rand.Read(b[:]) // never fails
	from := len(dst)
	dst = base64.RawURLEncoding.AppendEncode(dst, b[:])
	copy(dst[from:], prefix)
	return dst
}
