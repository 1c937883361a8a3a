package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/sockeyetest"
)

var secret = []byte(strings.Repeat("s", 32))

func connect(t *testing.T, srv *sockeyetest.Server, token string) *sockeyetest.Client {
	t.Helper()
	return srv.Connect(t, sockeyetest.Options{Auth: map[string]string{"token": token}})
}

// TestTokens: whom a token lets in.
func TestTokens(t *testing.T) {
	g := newGuard(secret, time.Minute)
	srv := sockeyetest.NewServer(t, sockeye.Config{})
	g.register(srv.Server)
	sign := func(name string, at time.Time) string {
		text, err := g.sign(name, at)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.RegisteredClaims{Subject: "Ann", ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour))}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	forever, _ := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{Subject: "Ann"}).SignedString(secret)
	nobody, _ := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour))}).SignedString(secret)
	other, _ := newGuard([]byte(strings.Repeat("o", 32)), time.Minute).sign("Ann", time.Now())
	for why, c := range map[string]struct {
		token string
		want  error
	}{
		"none":             {"", errToken},
		"no signature":     {none, errToken},
		"another's secret": {other, errToken},
		"for ever":         {forever, errToken},
		"of nobody":        {nobody, errToken},
		"too old":          {sign("Ann", time.Now().Add(-2*time.Minute)), errExpired},
		"good":             {sign("Ann", time.Now()), nil},
	} {
		if _, _, err := g.check(c.token); err != c.want {
			t.Errorf("%s: %v", why, err)
		}
	}
	// What a page is told of its life is not too long.
	now := time.Unix(time.Now().Unix(), 999e6)
	if _, until, err := g.check(sign("Ann", now)); err != nil || until.Before(now.Add(g.life)) {
		t.Errorf("it is good until %v, %v", until.Sub(now), err)
	}
	c := connect(t, srv, sign("Ann", time.Now()))
	if got := fmt.Sprint(c.Call("who am I")); got != "[Ann]" {
		t.Errorf("it is %s", got)
	}
	for want, token := range map[string]string{
		"[]": sign("Ann", time.Now()),
		"[map[error:the token is somebody else's]]": sign("Bob", time.Now()),
		"[map[error:the token has expired]]":        sign("Ann", time.Now().Add(-2*time.Minute)),
		"[map[error:the token is not valid]]":       "x",
	} {
		if got := fmt.Sprint(c.Call("renew", token)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestExpiry: a connection ends with its token, unless it has been renewed.
func TestExpiry(t *testing.T) {
	srv := sockeyetest.NewServer(t, sockeye.Config{})
	g := newGuard(secret, time.Minute)
	g.register(srv.Server)
	sign := func(life time.Duration) string {
		text, err := newGuard(secret, life).sign("Ann", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	c := connect(t, srv, sign(time.Minute))
	v := c.Socket().Data().(*visit)
	c.Call("renew", sign(time.Hour))
	v.expire(c.Socket())
	if !c.Connected() {
		t.Error("it ends although it has been renewed")
	}
	v.mu.Lock()
	v.until = time.Now()
	v.mu.Unlock()
	s := c.Socket()
	v.expire(s)
	// A renewal that was on its way is refused: the connection ends all the same.
	var refusal *sockeye.AckError
	if err := g.renew(s, sign(time.Hour)); !errors.As(err, &refusal) || refusal.Message != errExpired.Error() {
		t.Errorf("too late: %v", err)
	}
	if got := fmt.Sprint(c.Received()); got != "[{expired / []}]" || c.Connected() {
		t.Errorf("%s, connected: %v", got, c.Connected())
	}
	if !v.over {
		t.Error("the timer goes on")
	}
}

// TestLogin: log in, renew, log out.
func TestLogin(t *testing.T) {
	g := newGuard(secret, time.Minute)
	mux := http.NewServeMux()
	g.serve(mux)
	srv := httptest.NewServer(mux)
	defer srv.Close()
	jar, _ := cookiejar.New(nil)
	c := &http.Client{Jar: jar}
	post := func(path, body string) (status int, tk token) {
		t.Helper()
		resp, err := c.Post(srv.URL+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		_ = json.NewDecoder(resp.Body).Decode(&tk)
		return resp.StatusCode, tk
	}
	if status, _ := post("/refresh", ""); status != 401 {
		t.Errorf("without a cookie: %d", status)
	}
	for _, body := range []string{"", `{"name":" "}`, `{"name":"` + strings.Repeat("x", 25) + `"}`, `{"name":"` + strings.Repeat("x", 2000) + `"}`} {
		if status, _ := post("/login", body); status != 400 {
			t.Errorf("%.30s: %d", body, status)
		}
	}
	for _, path := range []string{"/login", "/refresh"} {
		status, tk := post(path, `{"name":" Ann "}`)
		name, _, err := g.check(tk.Token)
		if status != 200 || name != "Ann" || tk.Name != "Ann" || tk.LifeMS != 60_000 || err != nil {
			t.Errorf("%s: %d, %q, %+v, %v", path, status, name, tk, err)
		}
	}
	if status, _ := post("/logout", ""); status != 200 || len(g.logins) != 0 {
		t.Errorf("logout: %d", status)
	}
	if status, _ := post("/refresh", ""); status != 401 {
		t.Errorf("after the logout: %d", status)
	}
	g.logins["old"] = login{"Bob", time.Now().Add(-time.Second), "127.0.0.1"}
	post("/login", `{"name":"Ann"}`)
	if len(g.logins) != 1 {
		t.Errorf("%d logins are kept", len(g.logins))
	}
	// One peer cannot take all places, and another one still logs in.
	for range maxOwn + 10 {
		post("/login", `{"name":"Ann"}`)
	}
	if len(g.logins) != maxOwn {
		t.Errorf("an address has %d", len(g.logins))
	}
	clear(g.logins)
	for i := range maxLogins - 1 {
		g.logins[fmt.Sprint(i)] = login{"x", time.Now().Add(time.Hour), fmt.Sprint(i)}
	}
	for _, want := range []int{200, 503} {
		if status, _ := post("/login", `{"name":"Ann"}`); status != want {
			t.Errorf("%d, want %d", status, want)
		}
	}
}
