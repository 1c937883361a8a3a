package postgres_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
	"github.com/sockeye-io/sockeye/broadcast/postgres"
	"github.com/sockeye-io/sockeye/broadcast/postgres/pgtest"
)

// side is a server without sockets.
type side struct {
	broadcast.Remote
	Record *adaptertest.Record
	a      *cluster.Adapter
}

func newSide(t testing.TB, s *pgtest.Server, addr, id string, o postgres.Options) *side {
	t.Helper()
	d := &side{Record: &adaptertest.Record{ID: id}, a: newAdapter(t, s, addr, o)}
	var err error
	if d.Remote, err = d.a.Join(d.Record); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = d.a.Close(ctx)
	})
	return d
}

// TestSame: what is sent twice comes twice, although PostgreSQL takes two notifications of
// a transaction that are the same for one; short and long ones stay in order.
func TestSame(t *testing.T) {
	s := pgtest.Start(t)
	a, b := newSide(t, s, "", "AAAAAA", quick()), newSide(t, s, "", "BBBBBB", quick())
	adaptertest.Meet(t, a, b.Record)
	var want []string
	edge := `["` + strings.Repeat("e", 7850) + `"]`
	long := `["` + strings.Repeat("x", 9000) + `"]`
	for i := range 600 {
		text := `["same"]`
		if i%100 == 3 {
			text = long
		}
		if i%100 == 5 {
			text = edge
		}
		adaptertest.Emit(t, a, text)
		want = append(want, text)
	}
	b.Record.Expect(t, want...)
}

// TestGarbage: whatever comes is counted and ignored.
func TestGarbage(t *testing.T) {
	s := pgtest.Start(t)
	o := quick()
	o.MaxMessageBytes = 100_000
	a, b := newSide(t, s, "", "AAAAAA", o), newSide(t, s, "", "BBBBBB", o)
	adaptertest.Meet(t, a, b.Record)
	pool := s.Pool(t, "")
	random := make([]byte, 1000)
	_, _ = rand.Read(random)
	random[0] = 0xc1 // no value of MessagePack's
	before := b.a.Stats()
	n := 0
	for _, text := range []string{
		"", "{", "x", "[]", "null", `{"type":99,"uid":"x","nsp":"/"}`, `{"type":-1}`, `{"type":3}`, `{"type":3,"data":{"packet":{"data":7},"opts":{}}}`,
		`{"attachmentId":""}`, `{"attachmentId":"x"}`, `{"attachmentId":{}}`, `{"attachmentId":"99999999999999999999"}`, `{"attachmentId":1e9}`,
		`{"uid":"x","type":3,"attachmentId":"-1"}`, `{"uid":"x","type":3,"attachmentId":"9223372036854775807"}`, `{"uid":7,"attachmentId":"1"}`, strings.Repeat("[", 7000),
	} {
		if _, err := pool.Exec(t.Context(), `SELECT pg_notify('socket.io#/', $1)`, text); err != nil {
			t.Fatal(err)
		}
		n++
	}
	for _, row := range [][]byte{nil, {}, []byte("{"), random, []byte("\x80\x04\x95pickle"), {0xdf, 0xff, 0xff, 0xff, 0xff}, {0xc6, 0xff, 0xff, 0xff, 0xff, 1}, make([]byte, 100_001)} {
		if _, err := pool.Exec(t.Context(), `WITH a AS (INSERT INTO socket_io_attachments (payload) VALUES ($1) RETURNING id) SELECT pg_notify('socket.io#/', '{"attachmentId":"' || id || '"}') FROM a`, row); err != nil {
			t.Fatal(err)
		}
		n++
	}
	adaptertest.Eventually(t, "all is counted", func() bool {
		st := b.a.Stats()
		return int(st.Ignored-before.Ignored+st.Lost-before.Lost) == n
	})
	adaptertest.Emit(t, a, `["end"]`)
	b.Record.Expect(t, `["end"]`)
}

// TestCutOff: a server's connections are reset, or kept away for some time: what comes
// comes once and in order, callers know what has certainly not been sent, and it goes on.
func TestCutOff(t *testing.T) {
	s := pgtest.Start(t)
	proxy := adaptertest.NewProxy(t, s.Addr)
	a, b := newSide(t, s, proxy.Addr(), "AAAAAA", quick()), newSide(t, s, proxy.Addr(), "BBBBBB", quick())
	adaptertest.Meet(t, a, b.Record)
	refused := map[int]bool{}
	n := 0
	emit := func() {
		for range 50 {
			n++
			err := a.Broadcast(broadcast.Payload{JSON: fmt.Appendf(nil, `["n",%d]`, n)}, broadcast.Target{})
			if refused[n] = err != nil; err != nil && !errors.Is(err, broadcast.ErrUnavailable) {
				t.Fatal(err)
			}
		}
	}
	for i := range 8 {
		emit()
		switch i % 3 {
		case 0:
			proxy.Reset()
		case 1:
			proxy.Cut(true)
			emit()
			proxy.Cut(false)
		case 2:
			proxy.Delay(5 * time.Millisecond)
			emit()
			proxy.Delay(0)
		}
		emit()
		adaptertest.Eventually(t, "it is back", func() bool {
			end := fmt.Sprintf(`["back",%d]`, i)
			_ = a.Broadcast(broadcast.Payload{JSON: []byte(end)}, broadcast.Target{})
			return slices.Contains(b.Record.Got(), end)
		})
	}
	last, came := 0, 0
	for _, g := range b.Record.Got() {
		var k int
		if _, err := fmt.Sscanf(g, `["n",%d]`, &k); err != nil {
			continue
		}
		if came++; k <= last || refused[k] {
			t.Fatalf("%d comes after %d; refused: %v", k, last, refused[k])
		}
		last = k
	}
	adaptertest.Eventually(t, "nothing waits", func() bool { st := a.a.Stats(); return !st.Down && st.Queued == 0 })
	t.Logf("%d of %d came", came, n)
}

// TestLateProcess: what a process of PostgreSQL's still has to send when its connection is
// reset comes before what is sent by another one, although it is slow.
func TestLateProcess(t *testing.T) {
	s := pgtest.Start(t)
	proxy := adaptertest.NewProxy(t, s.Addr)
	a, b := newSide(t, s, proxy.Addr(), "AAAAAA", quick()), newSide(t, s, "", "BBBBBB", quick())
	adaptertest.Meet(t, a, b.Record)
	var processes []int
	adaptertest.Eventually(t, "both have sent something", func() bool {
		rows, _ := s.Pool(t, "").Query(t.Context(), `SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_notify%' AND query NOT LIKE '%pg_stat%'`)
		processes, _ = pgx.CollectRows(rows, pgx.RowTo[int])
		return len(processes) >= 2
	})
	signal := func(sig syscall.Signal) {
		for _, p := range processes {
			_ = syscall.Kill(p, sig)
		}
	}
	cont := sync.OnceFunc(func() { signal(syscall.SIGCONT) })
	defer cont()
	n := 0
	emit := func(d time.Duration) { // the outbox sends what there is, again and again
		for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Millisecond) {
			n++
			if err := a.Broadcast(broadcast.Payload{JSON: fmt.Appendf(nil, `["n",%d]`, n)}, broadcast.Target{}); err != nil && !errors.Is(err, broadcast.ErrUnavailable) {
				t.Fatal(err)
			}
		}
	}
	emit(50 * time.Millisecond)
	signal(syscall.SIGSTOP)
	emit(50 * time.Millisecond) // the first of them get there, and are not answered
	proxy.Reset()
	emit(300 * time.Millisecond) // these would overtake them
	cont()
	adaptertest.Eventually(t, "it goes on", func() bool {
		_ = a.Broadcast(broadcast.Payload{JSON: []byte(`["end"]`)}, broadcast.Target{})
		return slices.Contains(b.Record.Got(), `["end"]`)
	})
	last, came := 0, 0
	for _, g := range b.Record.Got() {
		var k int
		if _, err := fmt.Sscanf(g, `["n",%d]`, &k); err != nil {
			continue
		}
		if came++; k <= last {
			t.Errorf("%d comes after %d", k, last)
		}
		last = k
	}
	t.Logf("%d of %d came", came, n)
}

// TestTable: the table is made again, old rows go, and names that are too long are hashed.
func TestTable(t *testing.T) {
	s := pgtest.Start(t)
	o := quick()
	o.CleanupInterval, o.Table, o.Prefix = 200*time.Millisecond, "public.others", `q"uo'te`
	a, b := newSide(t, s, "", "AAAAAA", o), newSide(t, s, "", "BBBBBB", o)
	adaptertest.Meet(t, a, b.Record)
	pool := s.Pool(t, "")
	if _, err := pool.Exec(t.Context(), `DROP TABLE public.others`); err != nil {
		t.Fatal(err)
	}
	p := broadcast.Payload{JSON: []byte(`["b",{"_placeholder":true,"num":0}]`), Attachments: [][]byte{make([]byte, 50_000)}}
	if err := a.Broadcast(p, broadcast.Target{}); err != nil {
		t.Fatal(err)
	}
	b.Record.Expect(t, `["b",{"_placeholder":true,"num":0}] 50000`)
	adaptertest.Eventually(t, "the row goes", func() bool {
		var n int
		err := pool.QueryRow(t.Context(), `SELECT count(*) FROM public.others`).Scan(&n)
		return err == nil && n == 0
	})
	name := "/" + strings.Repeat("é", 100)
	one, two := &adaptertest.Record{Namespace: name, ID: "AAAAAA"}, &adaptertest.Record{Namespace: name, ID: "BBBBBB"}
	from, err := a.a.Join(one)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.a.Join(two); err != nil {
		t.Fatal(err)
	}
	adaptertest.Meet(t, from, two)
}

// TestEmitter: a process without a server tells servers what to do.
func TestEmitter(t *testing.T) {
	s := pgtest.Start(t)
	b := newSide(t, s, "", "BBBBBB", quick())
	a := newSide(t, s, "", "AAAAAA", quick())
	adaptertest.Meet(t, a, b.Record)
	e, err := postgres.NewEmitter(s.Pool(t, ""), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for _, err := range []error{
		e.Emit(ctx, "all", []byte("abc")), e.To("red").Join(ctx, "blue"), e.ServerSideEmit(ctx, "servers", 1),
		e.To("red").CloseSession(ctx), e.To("red", "blue").Emit(ctx, "end", strings.Repeat("x", 9000)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	b.Record.Expect(t, `["all",{"_placeholder":true,"num":0}] 3`, `red join ["blue"]`, `server["servers",1]`, `red disconnect true`, `red,blue["end","`+strings.Repeat("x", 9000)+`"]`)
}

// TestConfig: what cannot work is refused at once.
func TestConfig(t *testing.T) {
	cfg, err := pgxpool.ParseConfig("postgres://test@127.0.0.1:1/x")
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	cfg = cfg.Copy()
	cfg.ConnConfig.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) {}
	taken, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct {
		pool *pgxpool.Pool
		o    postgres.Options
	}{
		{nil, postgres.Options{}},
		{taken, postgres.Options{}},
		{pool, postgres.Options{Prefix: strings.Repeat("x", 39)}},
		{pool, postgres.Options{Prefix: "a\x00"}},
		{pool, postgres.Options{Table: "a; DROP TABLE b"}},
		{pool, postgres.Options{Table: "a.b.c"}},
		{pool, postgres.Options{PayloadThreshold: 8001}},
	} {
		if a, err := postgres.New(c.pool, c.o); err == nil {
			t.Errorf("%+v is taken", c.o)
			_ = a.Close(t.Context())
		}
	}
}
