package adminui

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/sockeye-io/sockeye"
)

// Auth is who may see a server.
type Auth struct {
	kind     string // "", "none" or "basic"
	username string
	hash     []byte
}

// NoAuth lets everybody in who reaches the server.
var NoAuth = Auth{kind: "none"}

// Basic lets in who knows a name and a password, of which hash is the bcrypt hash ("$2a$",
// "$2b$" or "$2y$"): as `htpasswd -nbBC 10 admin password` prints it behind the colon.
func Basic(username, hash string) Auth {
	return Auth{kind: "basic", username: username, hash: []byte(hash)}
}

func (auth Auth) check() error {
	switch auth.kind {
	case "none":
		return nil
	case "basic":
		if auth.username == "" {
			return errors.New("adminui: Basic: the username is empty")
		}
		cost, err := bcrypt.Cost(auth.hash)
		if err != nil {
			return errors.New("adminui: Basic: the hash is not one of bcrypt")
		}
		if cost > maxCost {
			return errors.New("adminui: Basic: the hash's cost is above 14: each login would take seconds")
		}
		return nil
	}
	return errors.New("adminui: Options.Auth is not set: give Basic, or NoAuth on purpose")
}

const (
	maxCost          = 14
	maxPasswordBytes = 72 // what bcrypt looks at
	sessionTime      = 24 * time.Hour
	maxSessions      = 1000
)

// Store keeps sessions of admins, so that the page need not keep the password. One that
// several servers share lets an admin come back to any of them. Its methods may block, and are
// called from any goroutine.
type Store interface {
	Exists(ctx context.Context, id string) (bool, error)
	Save(ctx context.Context, id string, lifetime time.Duration) error
}

// memory is a Store. It keeps hashes: how long a look-up takes tells nothing of an id.
type memory struct {
	// Guarded by mu.
	mu   sync.Mutex
	ends map[[32]byte]time.Time
}

func newMemory() *memory { return &memory{ends: map[[32]byte]time.Time{}} }

func (m *memory) Exists(_ context.Context, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Now().Before(m.ends[sha256.Sum256([]byte(id))]), nil
}

// Save forgets the session that ends first if there are too many.
func (m *memory) Save(_ context.Context, id string, lifetime time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.ends) >= maxSessions {
		var first [32]byte
		for k, end := range m.ends {
			if m.ends[first].IsZero() || end.Before(m.ends[first]) {
				first = k
			}
		}
		delete(m.ends, first)
	}
	m.ends[sha256.Sum256([]byte(id))] = time.Now().Add(lifetime)
	return nil
}

// The page tells these words apart from others.
var errCredentials = &sockeye.ConnectError{Message: "invalid credentials"}

// admit decides on an admin. The page gives a session's id, or a name and a password.
func (a *Admin) admit(s *sockeye.Socket) error {
	a.mu.Lock()
	full := len(a.admins) >= a.opts.MaxAdmins
	a.mu.Unlock()
	if full {
		return &sockeye.ConnectError{Message: "too many admins"}
	}
	if a.opts.Auth.kind == "none" {
		return nil
	}
	var given struct {
		SessionID string `json:"sessionId"`
		Username  string `json:"username"`
		Password  string `json:"password"`
	}
	if err := s.Auth(&given); err != nil {
		return errCredentials
	}
	ctx, cancel := context.WithTimeout(s.Context(), 5*time.Second)
	defer cancel()
	address := s.Handshake().Address
	if given.SessionID != "" && len(given.SessionID) <= 64 {
		ok, err := a.opts.Store.Exists(ctx, given.SessionID)
		if err != nil {
			a.log.Warn("look up", "adminui: sessions cannot be looked up", "err", err)
		}
		if ok {
			return nil
		}
	}
	if given.Username == "" && given.Password == "" {
		return errCredentials // a session that has ended: nothing was guessed
	}
	giveBack, ok := a.attempts.take(address, time.Now())
	if !ok {
		a.log.Warn("too many", "adminui: too many logins fail", "address", address)
		return &sockeye.ConnectError{Message: "too many attempts, try again in a minute"}
	}
	right := a.opts.Auth.right(given.Username, given.Password)
	giveBack(right)
	if !right {
		a.log.Warn("failed", "adminui: a login failed", "address", address)
		return errCredentials
	}
	id := newSession()
	if err := a.opts.Store.Save(ctx, id, sessionTime); err != nil {
		a.log.Warn("keep", "adminui: the session cannot be kept", "err", err)
	}
	a.opts.Logger.Info("adminui: an admin has logged in", "address", address, "id", s.ID())
	s.SaveSession(map[string]any{sessionKey: id})
	return s.Emit("session", id) // before the admin is told that it is in, as Node's server does
}

const sessionKey = "adminui"

// repeatSession sends the session's id once more: the client in the page of 0.5.1 hands out what
// came before its connect event when nobody listens yet.
func repeatSession(s *sockeye.Socket) {
	if id, ok := s.Session()[sessionKey]; ok {
		_ = s.Emit("session", id)
	}
}

// right takes as long for a wrong name as for a wrong password.
func (auth Auth) right(username, password string) bool {
	x, y := sha256.Sum256([]byte(username)), sha256.Sum256([]byte(auth.username))
	name := subtle.ConstantTimeCompare(x[:], y[:])
	fits := len(password) <= maxPasswordBytes
	if !fits {
		password = password[:maxPasswordBytes]
	}
	return bcrypt.CompareHashAndPassword(auth.hash, []byte(password)) == nil && name == 1 && fits
}

func newSession() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// attempts bounds logins that fail, and those that are being decided: bcrypt takes some 50 ms
// of a processor.
type attempts struct {
	deciding chan struct{}

	// Guarded by mu.
	mu     sync.Mutex
	minute time.Time // since when is counted
	failed map[string]int
	all    int
}

const (
	maxDeciding        = 2
	maxFailedOfAddress = 10  // a minute
	maxFailed          = 100 // a minute; and so the size of the table
)

func newAttempts() *attempts {
	return &attempts{deciding: make(chan struct{}, maxDeciding), failed: map[string]int{}}
}

// take counts an attempt as failed; giveBack takes that back if it was right.
func (t *attempts) take(address string, now time.Time) (giveBack func(right bool), ok bool) {
	if ip, err := netip.ParseAddr(address); err == nil && ip.Unmap().Is6() {
		net, _ := ip.WithZone("").Prefix(64)
		address = net.String()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.minute) >= time.Minute {
		t.minute, t.all = now, 0
		clear(t.failed)
	}
	if t.all >= maxFailed || t.failed[address] >= maxFailedOfAddress {
		return nil, false
	}
	select {
	case t.deciding <- struct{}{}:
	default:
		return nil, false
	}
	t.all++
	t.failed[address]++
	minute := t.minute
	return func(right bool) {
		<-t.deciding
		if !right {
			return
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.minute.Equal(minute) {
			t.all--
			if t.failed[address]--; t.failed[address] == 0 {
				delete(t.failed, address)
			}
		}
	}, true
}
