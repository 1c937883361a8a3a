package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

const (
	cookie    = "login"
	loginLife = time.Hour
	maxLogins = 10_000
	maxOwn    = 100 // of an address; behind a proxy all have one
	maxName   = 24  // characters
)

// guard knows who has logged in, and makes and checks JWTs.
type guard struct {
	// Immutable after newGuard.
	secret []byte
	life   time.Duration

	// Guarded by mu.
	mu     sync.Mutex
	logins map[string]login // by the cookie's value
}

type login struct {
	name    string
	ends    time.Time
	address string
}

// token is what a page gets to let its socket in.
type token struct {
	Token  string `json:"token"`
	Name   string `json:"name"`
	LifeMS int64  `json:"lifeMs"`
}

func newGuard(secret []byte, life time.Duration) *guard {
	return &guard{secret: secret, life: life, logins: map[string]login{}}
}

// serve adds what pages ask over HTTP. The cookie comes with requests of this site's own
// pages alone, and no script sees it.
func (g *guard) serve(mux *http.ServeMux) {
	mux.HandleFunc("POST /login", g.login)
	mux.HandleFunc("POST /refresh", g.refresh)
	mux.HandleFunc("POST /logout", g.logout)
}

// login lets in whoever has a name: put a check of a password, or of another site, here.
func (g *guard) login(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		Name string `json:"name"`
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&ask)
	name := strings.TrimSpace(ask.Name)
	if err != nil || name == "" || utf8.RuneCountInString(name) > maxName {
		http.Error(w, "a name has 1 to 24 characters", http.StatusBadRequest)
		return
	}
	now := time.Now()
	address, _, _ := net.SplitHostPort(r.RemoteAddr)
	own := 0
	g.mu.Lock()
	for id, l := range g.logins {
		switch {
		case now.After(l.ends):
			delete(g.logins, id)
		case l.address == address:
			own++
		}
	}
	full := len(g.logins) >= maxLogins || own >= maxOwn
	id := rand.Text()
	if !full {
		g.logins[id] = login{name, now.Add(loginLife), address}
	}
	g.mu.Unlock()
	if full {
		http.Error(w, "too many people are logged in", http.StatusServiceUnavailable)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: cookie, Value: id, MaxAge: int(loginLife / time.Second), HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil})
	g.answer(w, name)
}

// refresh gives who is logged in another JWT.
func (g *guard) refresh(w http.ResponseWriter, r *http.Request) {
	c, err := r.Cookie(cookie)
	if err != nil {
		http.Error(w, "log in first", http.StatusUnauthorized)
		return
	}
	g.mu.Lock()
	l := g.logins[c.Value]
	g.mu.Unlock()
	if !time.Now().Before(l.ends) {
		http.Error(w, "log in again", http.StatusUnauthorized)
		return
	}
	g.answer(w, l.name)
}

// logout ends a login: no more JWTs are made for it. Its last one is good until it expires.
func (g *guard) logout(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(cookie); err == nil {
		g.mu.Lock()
		delete(g.logins, c.Value)
		g.mu.Unlock()
	}
	http.SetCookie(w, &http.Cookie{Name: cookie, MaxAge: -1})
}

func (g *guard) answer(w http.ResponseWriter, name string) {
	text, err := g.sign(name, time.Now())
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(token{text, name, g.life.Milliseconds()}) // who asks has gone
}

// sign makes a JWT that is good for life at least: its times are whole seconds.
func (g *guard) sign(name string, now time.Time) (string, error) {
	return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Subject: name, IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(g.life + time.Second - 1)),
	}).SignedString(g.secret)
}

var (
	errExpired = errors.New("the token has expired")
	errToken   = errors.New("the token is not valid")
)

// check is who a JWT is of, and until when it is good.
func (g *guard) check(text string) (name string, until time.Time, err error) {
	var claims jwt.RegisteredClaims
	_, err = jwt.ParseWithClaims(text, &claims, func(*jwt.Token) (any, error) { return g.secret, nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithExpirationRequired())
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return "", time.Time{}, errExpired
	case err != nil || claims.Subject == "":
		return "", time.Time{}, errToken
	}
	return claims.Subject, claims.ExpiresAt.Time, nil
}
