package adminui

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
	"github.com/sockeye-io/sockeye/client"
)

const limit = 20 * time.Second

var quiet = slog.New(slog.DiscardHandler)

func serve(t *testing.T, opts Options) (*sockeye.Server, *Admin, string) {
	t.Helper()
	if opts.Auth.kind == "" {
		opts.Auth = NoAuth
	}
	opts.Logger = quiet
	return serveBy(t, sockeye.Config{}, opts)
}

// serveBy makes a quiet server, and instruments it with just these options.
func serveBy(t *testing.T, cfg sockeye.Config, opts Options) (*sockeye.Server, *Admin, string) {
	t.Helper()
	cfg.Logger = quiet
	srv, err := sockeye.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := Instrument(srv, opts)
	if err != nil {
		t.Fatal(err)
	}
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		admin.Close()
		_ = srv.Close()
	})
	return srv, admin, "http://" + addr.String()
}

// seen are the messages that an admin has got.
type seen struct {
	mu  sync.Mutex
	all []message
}

// find returns the arguments of the first message that fits; nil if there is none.
func (s *seen) find(event string, fits func(args []any) bool) []any {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.all {
		if m.event == event && (fits == nil || fits(m.args)) {
			return m.args
		}
	}
	return nil
}

func (s *seen) count(event string, fits func(args []any) bool) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.all {
		if m.event == event && fits(m.args) {
			n++
		}
	}
	return n
}

func (s *seen) await(t *testing.T, event string, fits func(args []any) bool) []any {
	t.Helper()
	var args []any
	await(t, "no "+event, func() bool { args = s.find(event, fits); return args != nil })
	return args
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func dial(t *testing.T, url string, cfg client.Config) *client.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c, err := client.Dial(ctx, url, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func watchAs(t *testing.T, url string, auth any) (*client.Client, *seen) {
	t.Helper()
	s := &seen{}
	c, err := client.New(url+"/admin", client.Config{Auth: auth})
	if err != nil {
		t.Fatal(err)
	}
	c.OnAny(func(e *client.Event) {
		args, err := e.Values()
		if err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all = append(s.all, message{event: e.Name, args: args})
	})
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := c.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, s
}

func hash(t *testing.T, password string) string {
	t.Helper()
	b, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestOptions(t *testing.T) {
	srv, err := sockeye.New(sockeye.Config{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = srv.Close() }()
	for want, opts := range map[string]Options{
		"Auth is not set":        {},
		"the username is empty":  {Auth: Basic("", hash(t, "x"))},
		"is not one of bcrypt":   {Auth: Basic("admin", "secret")},
		"above 14":               {Auth: Basic("admin", "$2a$15$"+strings.Repeat("a", 53))},
		`Mode is "loud"`:         {Auth: NoAuth, Mode: "loud"},
		"a limit is negative":    {Auth: NoAuth, MaxAdmins: -1},
		"/ is the application's": {Auth: NoAuth, Namespace: "/"},
	} {
		if _, err := Instrument(srv, opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

// refused is what a login is answered with; "" if it is let in.
func refused(t *testing.T, url string, auth any) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c, err := client.Dial(ctx, url+"/admin", client.Config{Auth: auth})
	if err == nil {
		_ = c.Close()
		return ""
	}
	var refusal *client.ConnectError
	if !errors.As(err, &refusal) {
		t.Fatal(err)
	}
	return refusal.Message
}

func TestLogin(t *testing.T) {
	_, _, url := serve(t, Options{Auth: Basic("admin", hash(t, "secret"))})
	right := map[string]string{"username": "admin", "password": "secret"}
	c, s := watchAs(t, url, right)
	session := s.await(t, "session", nil)[0]
	await(t, "it is not repeated", func() bool { return s.count("session", func([]any) bool { return true }) == 2 })
	_ = c.Close()
	const no = "invalid credentials"
	for _, x := range []any{
		nil,
		map[string]any{},
		map[string]any{"username": "admin", "password": []int{1}},
		map[string]any{"sessionId": "x"},
		map[string]any{"sessionId": strings.Repeat("x", 100)},
	} {
		if got := refused(t, url, x); got != no {
			t.Errorf("%v: %q", x, got)
		}
	}
	// Ten that are guessed, in a minute.
	for i := range 10 {
		x := map[string]string{"username": "admin", "password": "secret" + strings.Repeat("x", i*20+1)}
		if i == 0 {
			x = map[string]string{"username": "root", "password": "secret"}
		}
		if got := refused(t, url, x); got != no {
			t.Errorf("guess %d: %q", i, got)
		}
	}
	if got := refused(t, url, right); !strings.Contains(got, "too many attempts") {
		t.Errorf("after ten: %q", got)
	}
	if got := refused(t, url, map[string]any{"sessionId": session}); got != "" {
		t.Errorf("who has a session: %q", got)
	}
}

func TestAttempts(t *testing.T) {
	a, now := newAttempts(), time.Unix(1000, 0)
	fail := func(address string) bool {
		giveBack, ok := a.take(address, now)
		if ok {
			giveBack(false)
		}
		return ok
	}
	for range maxFailedOfAddress {
		if !fail("2001:db8::1") {
			t.Fatal("too early")
		}
	}
	if fail("2001:db8::2") {
		t.Error("another address of the same /64")
	}
	if giveBack, ok := a.take("192.0.2.1", now); !ok {
		t.Error("another address is kept out")
	} else {
		giveBack(true)
	}
	if a.all != maxFailedOfAddress || len(a.failed) != 1 {
		t.Error("a right one counts")
	}
	n := a.all
	for i := 0; fail(fmt.Sprintf("198.51.100.%d", i)); i++ {
		n++
	}
	if n != maxFailed || len(a.failed) > maxFailed {
		t.Errorf("%d in all, %d addresses", n, len(a.failed))
	}
	now = now.Add(time.Minute)
	one, ok1 := a.take("a", now)
	two, ok2 := a.take("b", now)
	if _, ok3 := a.take("c", now); !ok1 || !ok2 || ok3 {
		t.Error("two are decided at a time")
	}
	one(false)
	two(false)
	if len(a.failed) != 2 {
		t.Error("a minute is not forgotten")
	}
}

func TestSessionsAreBounded(t *testing.T) {
	m, ctx := newMemory(), context.Background()
	for i := range maxSessions + 10 {
		_ = m.Save(ctx, fmt.Sprint(i), time.Hour+time.Duration(i)*time.Second)
	}
	first, _ := m.Exists(ctx, "0")
	last, _ := m.Exists(ctx, fmt.Sprint(maxSessions+9))
	if len(m.ends) != maxSessions || first || !last {
		t.Errorf("%d sessions, first %v, last %v", len(m.ends), first, last)
	}
	_ = m.Save(ctx, "short", -time.Second)
	if ok, _ := m.Exists(ctx, "short"); ok {
		t.Error("a session does not end")
	}
}

func TestTooManyAdmins(t *testing.T) {
	_, admin, url := serve(t, Options{MaxAdmins: 1})
	watchAs(t, url, nil)
	await(t, "no admin", func() bool { return len(admin.viewers()) == 1 })
	if got := refused(t, url, nil); got != "too many admins" {
		t.Errorf("%q", got)
	}
}

// TestSecrets: what lets somebody in is not shown, unless it is wanted.
func TestSecrets(t *testing.T) {
	for _, show := range []bool{false, true} {
		_, _, url := serve(t, Options{Mode: Development, ShowSecrets: show})
		_, s := watchAs(t, url, nil)
		s.await(t, "all_sockets", nil)
		c := dial(t, url+"/?access_token=hush1&lang=de", client.Config{Header: http.Header{
			"Cookie": {"a=hush2"}, "Authorization": {"Bearer hush3"}, "X-Api-Key": {"hush4"}, "Referer": {"http://x/?token=hush5&a=b"}, "X-Plain": {"seen"},
		}})
		socket := s.await(t, "socket_connected", func(args []any) bool { return args[0].(map[string]any)["id"] == c.ID() })
		b, err := json.Marshal(socket)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range []string{"hush1", "hush2", "hush3", "hush4", "hush5"} {
			if strings.Contains(string(b), x) != show {
				t.Errorf("%v: %s in %s", show, x, b)
			}
		}
		if !strings.Contains(string(b), "seen") || !strings.Contains(string(b), "lang") {
			t.Errorf("%s", b)
		}
	}
}

// TestLongEvents: what is long is cut, on either way; what is short is whole.
func TestLongEvents(t *testing.T) {
	srv, _, url := serve(t, Options{Mode: Development})
	srv.On("long", func(s *sockeye.Socket, e *sockeye.Event) error { return s.Emit("back", e.Arguments()...) })
	_, s := watchAs(t, url, nil)
	s.await(t, "all_sockets", nil)
	c := dial(t, url, client.Config{})
	long := strings.Repeat("é", 50_000)
	args := []any{1, map[string]any{"a": []byte{1, 2}}, long, []any{long}, []byte(long), "end", nil}
	if err := c.Emit("long", args...); err != nil {
		t.Fatal(err)
	}
	for _, event := range []string{"event_received", "event_sent"} {
		got := s.await(t, event, func(args []any) bool { return args[1] == c.ID() })[2].([]any)
		b, _ := json.Marshal(got)
		if len(got) != len(args)+1 || len(b) > 3*4096 || got[1] != 1.0 || got[6] != "end" || got[7] != nil {
			t.Errorf("%s: %d arguments, %d bytes: %.200s", event, len(got), len(b), b)
		}
		for i, want := range map[int]string{2: "(binary", 3: "00002 bytes)", 4: "0000", 5: "(binary"} {
			if x, _ := json.Marshal(got[i]); !strings.Contains(string(x), want) {
				t.Errorf("%s: argument %d is %.100s ... %s", event, i, x, x[max(0, len(x)-50):])
			}
		}
	}
	// A broadcast is told once.
	if err := srv.Emit("all", func() {}); err == nil {
		t.Fatal("a function was encoded")
	}
	if err := srv.Emit("all", struct{ A int }{7}); err != nil {
		t.Fatal(err)
	}
	got := s.await(t, "event_sent", func(args []any) bool { return args[1] == broadcastID && fmt.Sprint(args[2]) != "[all (func())]" })
	if fmt.Sprint(got[2]) != "[all map[A:7]]" {
		t.Errorf("%v", got)
	}
}

// TestManySockets: no more are shown than MaxSockets, and the admin is told.
func TestManySockets(t *testing.T) {
	t.Parallel()
	srv, _, url := serve(t, Options{Mode: Development, MaxSockets: 4})
	for range 9 {
		dial(t, url, client.Config{})
	}
	await(t, "not all are there", func() bool { return srv.Len() == 9 })
	_, s := watchAs(t, url, nil)
	if n := len(s.await(t, "all_sockets", nil)[0].([]any)); n != 4 {
		t.Errorf("%d are shown", n)
	}
	s.await(t, "event_received", func(args []any) bool { return fmt.Sprint(args[2]) == "[sockets that are not shown 6]" })
	c := dial(t, url, client.Config{})
	id := c.ID()
	_ = c.Close()
	s.await(t, "socket_disconnected", func(args []any) bool { return args[1] == id })
	if s.find("socket_connected", func([]any) bool { return true }) != nil {
		t.Error("one more is shown")
	}
}

// TestChildren: the children of a parent share their hooks, and are told of once each.
func TestChildren(t *testing.T) {
	srv, _, url := serve(t, Options{Mode: Development})
	parent := srv.OfPattern(regexp.MustCompile(`/game-\d+`))
	parent.On("move", func(s *sockeye.Socket, room string) error { return s.Join(room) })
	_, s := watchAs(t, url, nil)
	s.await(t, "all_sockets", nil)
	for i := range 3 {
		nsp := fmt.Sprintf("/game-%d", i)
		c := dial(t, url+nsp, client.Config{})
		id := c.ID()
		if err := c.Emit("move", "hall"); err != nil {
			t.Fatal(err)
		}
		mine := func(at int) func(args []any) bool {
			return func(args []any) bool { return args[0] == nsp && args[at] == id }
		}
		s.await(t, "room_joined", func(args []any) bool { return args[1] == "hall" && mine(2)(args) })
		_ = c.Close()
		s.await(t, "socket_disconnected", mine(1))
		s.await(t, "room_left", func(args []any) bool { return args[1] == "hall" && mine(2)(args) })
		connected := s.count("socket_connected", func(args []any) bool { return args[0].(map[string]any)["id"] == id })
		if n := s.count("event_received", mine(1)); n != 1 || connected != 1 {
			t.Errorf("%s: %d events, %d connects", nsp, n, connected)
		}
	}
}

// TestSlowAdmin: an admin that does not read holds nobody up; it is told what it has missed.
func TestSlowAdmin(t *testing.T) {
	t.Parallel()
	srv, admin, url := serve(t, Options{Mode: Development, MaxEventBytes: 64 << 10})
	_, other := watchAs(t, url, nil)
	other.await(t, "all_sockets", nil)

	slow, err := client.New(url+"/admin", client.Config{MaxQueued: 1, Transports: []string{"websocket"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = slow.Close() }()
	read, stopped := make(chan struct{}), make(chan struct{})
	var once sync.Once
	got := &seen{}
	slow.OnAny(func(e *client.Event) {
		if e.Name == "event_sent" {
			once.Do(func() { close(stopped) })
			<-read
		}
		args, _ := e.Values()
		got.mu.Lock()
		defer got.mu.Unlock()
		got.all = append(got.all, message{event: e.Name, args: args})
	})
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := slow.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	c := dial(t, url, client.Config{})
	text := strings.Repeat("x", 60<<10)
	var sent int
	await(t, "nothing is dropped", func() bool {
		sent++
		begin := time.Now()
		if err := srv.To(c.ID()).Emit("news", sent, text); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begin); d > 5*time.Second {
			t.Fatalf("an emit took %v", d)
		}
		return admin.Dropped() > 0
	})
	<-stopped
	// The other admin sees what happens all the same.
	if err := srv.Emit("still", 1); err != nil {
		t.Fatal(err)
	}
	other.await(t, "event_sent", func(args []any) bool { return args[2].([]any)[0] == "still" })
	close(read)
	got.await(t, "event_received", func(args []any) bool { return args[2].([]any)[0] == "messages that were dropped" })
	if n := got.count("all_sockets", func([]any) bool { return true }); n < 2 {
		t.Errorf("it is shown all sockets %d times", n)
	}
}

// TestClose: nothing is left.
func TestClose(t *testing.T) {
	t.Parallel()
	srv, admin, url := serve(t, Options{Mode: Development})
	c, s := watchAs(t, url, nil)
	s.await(t, "server_stats", nil)
	admin.Close()
	admin.Close()
	await(t, "an admin is left", func() bool { return !c.Connected() && srv.Of("/admin").Len() == 0 })
	d := dial(t, url, client.Config{})
	if err := srv.Emit("x"); err != nil {
		t.Fatal(err)
	}
	_ = d.Close()
	if n := len(admin.queue); n != 0 {
		t.Errorf("%d are told", n)
	}
}

// TestReadOnly: there are no buttons; and what admins send makes no namespaces.
func TestButtons(t *testing.T) {
	for _, readOnly := range []bool{false, true} {
		srv, _, url := serve(t, Options{ReadOnly: readOnly})
		c := dial(t, url, client.Config{})
		a, s := watchAs(t, url, nil)
		features := s.await(t, "config", nil)[0].(map[string]any)["supportedFeatures"].([]any)
		if slices.Contains(features, any("MJOIN")) == readOnly {
			t.Errorf("%v", features)
		}
		for _, nsp := range []string{"/none", "/"} {
			if err := a.Emit("join", nsp, "x", c.ID()); err != nil {
				t.Fatal(err)
			}
		}
		if readOnly {
			await(t, "the server has not got it", func() bool { return srv.Stats().UnhandledEvents >= 2 })
		} else {
			await(t, "it does not join", func() bool { return slices.Contains(srv.Socket(c.ID()).Rooms(), "x") })
		}
		if len(srv.Namespaces()) != 2 || readOnly && slices.Contains(srv.Socket(c.ID()).Rooms(), "x") {
			t.Errorf("%d namespaces, %v", len(srv.Namespaces()), srv.Socket(c.ID()).Rooms())
		}
	}
}

func TestStatusGuard(t *testing.T) {
	srv, err := sockeye.New(sockeye.Config{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = srv.Close() }()
	get := func(h http.Handler, method, path, from, host, header string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, nil)
		r.RemoteAddr, r.Host = from, host
		if header != "" {
			r.Header.Set(header, "x")
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	closed := Status(srv, StatusOptions{})
	open := Status(srv, StatusOptions{Guard: func(*http.Request) bool { return true }})
	for _, c := range []struct {
		h                                http.Handler
		method, path, from, host, header string
		want                             int
	}{
		{closed, "GET", "/s", "127.0.0.1:1", "localhost:3000", "", 200},
		{closed, "GET", "/s", "[::1]:1", "[::1]:3000", "", 200},
		{closed, "HEAD", "/s?file=data", "127.9.0.1:1", "127.0.0.1", "", 200},
		{closed, "GET", "/s?file=script", "127.0.0.1:1", "localhost", "", 200},
		{closed, "GET", "/s?file=other", "127.0.0.1:1", "localhost", "", 404},
		{closed, "POST", "/s", "127.0.0.1:1", "localhost", "", 405},
		{closed, "GET", "/s?file=data", "192.0.2.1:1", "localhost", "", 403},
		{closed, "GET", "/s", "@", "localhost", "", 403},
		{closed, "GET", "/s", "127.0.0.1:1", "evil.example:3000", "", 403},
		{closed, "GET", "/s", "127.0.0.1:1", "localhost.evil.example", "", 403},
		{closed, "GET", "/s?file=data", "127.0.0.1:1", "localhost", "X-Forwarded-For", 403},
		{closed, "GET", "/s", "127.0.0.1:1", "localhost", "Forwarded", 403},
		{open, "GET", "/s?file=data", "192.0.2.1:1", "status.example", "X-Forwarded-For", 200},
	} {
		w := get(c.h, c.method, c.path, c.from, c.host, c.header)
		if w.Code != c.want || w.Header().Get("Content-Security-Policy") == "" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s from %s to %s, %s: %d, want %d", c.method, c.path, c.from, c.host, c.header, w.Code, c.want)
		}
	}
	var v sample
	if err := json.Unmarshal(get(open, "GET", "/?file=data", "192.0.2.1:1", "x", "").Body.Bytes(), &v); err != nil || v.Loops == 0 || v.Namespaces != 1 || !v.Live {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestPasswordThatBcryptCuts: what is behind the 72nd byte counts.
func TestPasswordThatBcryptCuts(t *testing.T) {
	password := strings.Repeat("p", maxPasswordBytes)
	auth := Basic("admin", hash(t, password))
	if !auth.right("admin", password) || auth.right("admin", password+"x") {
		t.Error("a longer one is right")
	}
}

// TestTwoServers: an admin sees the sockets of both, and what happens on both.
func TestTwoServers(t *testing.T) {
	t.Parallel()
	var hub adaptertest.Hub
	var urls []string
	var admins []*Admin
	for i := range 2 {
		srv, err := sockeye.New(sockeye.Config{Logger: quiet, Adapter: hub.Adapter(t, cluster.Options{})})
		if err != nil {
			t.Fatal(err)
		}
		admin, err := Instrument(srv, Options{Auth: NoAuth, Mode: Development, ServerID: fmt.Sprint(i), Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		addr, err := srv.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			admin.Close()
			_ = srv.Close()
		})
		urls, admins = append(urls, "http://"+addr.String()), append(admins, admin)
	}
	await(t, "the servers do not know each other", func() bool { return admins[0].elsewhere.Load() && admins[1].elsewhere.Load() })
	before := dial(t, urls[1], client.Config{})
	_, s := watchAs(t, urls[0], nil)
	id := func(c *client.Client) func(args []any) bool {
		return func(args []any) bool { return args[0].(map[string]any)["id"] == c.ID() }
	}
	s.await(t, "all_sockets", func(args []any) bool {
		return slices.ContainsFunc(args[0].([]any), func(x any) bool { return id(before)([]any{x}) })
	})
	s.await(t, "socket_connected", id(dial(t, urls[1], client.Config{})))
	s.await(t, "server_stats", func(args []any) bool { return args[0].(map[string]any)["serverId"] == "1" })
}
