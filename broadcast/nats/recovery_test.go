package nats_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
	"github.com/sockeye-io/sockeye/broadcast/nats"
)

func withRecovery(o *nats.Options) { o.JetStream = &nats.JetStream{Recovery: true} }

// roamingEnv has this program be a server for RunKills, by NATS at an address.
const roamingEnv = "SOCKEYE_TEST_ROAMING"

// serveRoaming is such a server until its standard input ends.
func serveRoaming(addr, name string) int {
	nc, err := natsgo.Connect("nats://"+addr, natsgo.MaxReconnects(-1))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	a, err := nats.New(nc, nats.Options{JetStream: &nats.JetStream{Recovery: true}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	url, err := adaptertest.ServeRoaming(a, name)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(url)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	return 0
}

// roaming starts one.
func roaming(t testing.TB, addr, name string) (url string, kill func()) {
	t.Helper()
	url, p := process(t, roamingEnv+"="+addr, roamingEnv+"_NAME="+name)
	return url, func() { _ = p.Kill() }
}

// process starts this program as a server, which prints its URL.
func process(t testing.TB, env ...string) (url string, p *os.Process) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := fmt.Fscan(out, &url); err != nil {
		t.Fatal(err)
	}
	return url, cmd.Process
}

func streams(t testing.TB, addr string) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(connect(t, addr))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// TestRecovery: sockets come back on other servers.
func TestRecovery(t *testing.T) {
	s := startServer(t, true)
	var links []*adaptertest.Proxy
	adaptertest.RunRecovery(t, adaptertest.Bus{
		World: func(testing.TB, int) { links = nil },
		Adapter: func(t testing.TB) broadcast.Adapter {
			p := adaptertest.NewProxy(t, s.addr())
			links = append(links, p)
			return newAdapter(t, p.Addr(), quick(withRecovery))
		},
		Link: func(i int) *adaptertest.Proxy { return links[i] },
		Trim: func(t testing.TB, left int) {
			stream, err := streams(t, s.addr()).Stream(t.Context(), "sockeye")
			if err == nil && left == 0 {
				err = stream.Purge(t.Context())
			} else if err == nil {
				err = stream.Purge(t.Context(), jetstream.WithPurgeKeep(uint64(left)))
			}
			if err != nil {
				t.Fatal(err)
			}
		},
	})
}

// TestRecoveryKills: clients are cut, and servers killed, and nothing is lost or doubled.
func TestRecoveryKills(t *testing.T) {
	s := startServer(t, true)
	adaptertest.RunKills(t, func(t testing.TB) broadcast.Adapter {
		return newAdapter(t, s.addr(), quick(withRecovery))
	}, func(t testing.TB, name string) (string, func()) {
		return roaming(t, s.addr(), name)
	}, adaptertest.Cuts(60))
}

// keeper is a server without sockets, which notes the events that it is told.
type keeper struct {
	broadcast.Local // of nothing else

	h broadcast.History
	a *cluster.Adapter

	mu  sync.Mutex
	got []string // names and numbers
}

func (k *keeper) Name() string { return "/" }

func (k *keeper) Server() string { return "keeper" }

func (k *keeper) ServerEvent(broadcast.Payload, func(broadcast.Payload)) {}

func (k *keeper) Recorded(e broadcast.Kept) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.got = append(k.got, text(e))
}

func text(e broadcast.Kept) string {
	if len(e.Payload.JSON) > 100 {
		return fmt.Sprint(len(e.Payload.JSON), " ", e.Number)
	}
	return fmt.Sprint(string(e.Payload.JSON), " ", e.Number)
}

func newKeeper(t testing.TB, addr string) *keeper {
	t.Helper()
	return keeps(t, newAdapter(t, addr, quick(silent, withRecovery)))
}

func keeps(t testing.TB, a *cluster.Adapter) *keeper {
	t.Helper()
	k := &keeper{a: a}
	remote, err := k.a.Join(k)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = k.a.Close(ctx)
	})
	k.h = remote.(interface{ History() broadcast.History }).History()
	adaptertest.Eventually(t, "the stream is read", func() bool { return k.h.Position() != "" })
	return k
}

func (k *keeper) append(t testing.TB, json string, number uint64) {
	t.Helper()
	if err := k.h.Append(broadcast.Payload{JSON: []byte(json)}, broadcast.Target{}, number); err != nil {
		t.Fatal(err)
	}
}

// expects waits until exactly want has come.
func (k *keeper) expects(t testing.TB, want ...string) {
	t.Helper()
	var got []string
	adaptertest.Eventually(t, fmt.Sprintf("%.1000q comes", want), func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		got = slices.Clone(k.got)
		return len(got) >= len(want)
	})
	if !slices.Equal(got, want) {
		t.Fatalf("%.1000q has come, not %.1000q", got, want)
	}
}

// reads reads what lies between two offsets.
func (k *keeper) reads(t testing.TB, after, upto string) (list []string, err error) {
	t.Helper()
	for n := 0; after != upto; n++ {
		got, next, err := k.h.Read(t.Context(), after, upto, nil, 1000)
		if err != nil {
			return list, err
		}
		for _, e := range got {
			list = append(list, text(e))
		}
		if after = next; n > 1000 {
			t.Fatal("it does not end")
		}
	}
	return list, nil
}

// TestRecoveryConfig: what recovery cannot work with is refused at once, and said.
func TestRecoveryConfig(t *testing.T) {
	o := quick(withRecovery)
	if _, err := nats.New(connect(t, startServer(t, false).addr()), o); !errors.Is(err, nats.ErrNoJetStream) || !strings.Contains(err.Error(), "-js") {
		t.Errorf("without JetStream: %v", err)
	}
	s := startServer(t, true)
	js := streams(t, s.addr())
	refused := func(what, because string) {
		t.Helper()
		if _, err := nats.New(connect(t, s.addr()), o); err == nil || !strings.Contains(err.Error(), because) {
			t.Errorf("%s: %v", what, err)
		}
	}
	tries := func(what string, c jetstream.StreamConfig, because string) {
		t.Helper()
		c.Storage = jetstream.MemoryStorage
		if _, err := js.CreateStream(t.Context(), c); err != nil {
			t.Fatal(what, err)
		}
		refused(what, because)
		if err := js.DeleteStream(t.Context(), c.Name); err != nil {
			t.Fatal(what, err)
		}
	}
	all := []string{"sio.*.all", "sio.*.room.*", "sio.*.sock.*.*"}
	good := jetstream.StreamConfig{Storage: jetstream.MemoryStorage, Name: "sockeye", Subjects: all, AllowDirect: true, RePublish: &jetstream.RePublish{Source: ">", Destination: "sio-kept.>"}}
	for what, change := range map[string]struct {
		because string
		f       func(c *jetstream.StreamConfig)
	}{
		"a stream that cannot be read directly": {"--allow-direct", func(c *jetstream.StreamConfig) { c.AllowDirect = false }},
		"a stream that hands nothing on":        {"RePublish", func(c *jetstream.StreamConfig) { c.RePublish = nil }},
		"a stream that hands on elsewhere": {"RePublish", func(c *jetstream.StreamConfig) {
			c.RePublish = &jetstream.RePublish{Source: ">", Destination: "other.>"}
		}},
		"a stream that hands on other names": {"RePublish", func(c *jetstream.StreamConfig) {
			c.RePublish = &jetstream.RePublish{Source: "sio.>", Destination: "sio-kept.>"}
		}},
		"a stream that hands on headers": {"RePublish", func(c *jetstream.StreamConfig) {
			c.RePublish = &jetstream.RePublish{Source: ">", Destination: "sio-kept.>", HeadersOnly: true}
		}},
		"a stream without rooms":    {"sio.*.room.*", func(c *jetstream.StreamConfig) { c.Subjects = []string{"sio.*.all"} }},
		"a stream with a few rooms": {"sio.*.room.*", func(c *jetstream.StreamConfig) { c.Subjects = []string{"sio.*.all", "sio.Lw.room.*"} }},
		"a stream without answers":  {"NoAck", func(c *jetstream.StreamConfig) { c.NoAck = true }},
		"a stream that refuses":     {"--discard=old", func(c *jetstream.StreamConfig) { c.Discard, c.MaxMsgs = jetstream.DiscardNew, 1000 }},
		"a stream of the last ones": {"--max-msgs-per-subject", func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 5 }},
		"a stream for consumers":    {"retention", func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy }},
		"a stream for one consumer": {"retention", func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }},
		"a stream of other subjects": {"SubjectTransform", func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "sio.*.all", Destination: "x.{{wildcard(1)}}"}
		}},
	} {
		c := good
		change.f(&c)
		tries(what, c, change.because)
	}
	bucket := jetstream.StreamConfig{Name: "KV_sockeye-sessions", Subjects: []string{"$KV.sockeye-sessions.>"}, MaxMsgsPerSubject: 1, AllowDirect: true, AllowMsgTTL: true}
	for what, change := range map[string]struct {
		because string
		f       func(c *jetstream.StreamConfig)
	}{
		"a bucket without expiry":               {"AllowMsgTTL", func(c *jetstream.StreamConfig) { c.AllowMsgTTL = false }},
		"a bucket that cannot be read directly": {"--allow-direct", func(c *jetstream.StreamConfig) { c.AllowDirect = false }},
		"a bucket that refuses":                 {"--discard=old", func(c *jetstream.StreamConfig) { c.Discard, c.MaxBytes = jetstream.DiscardNew, 1<<20 }},
		"a bucket of other keys":                {"$KV.sockeye-sessions.>", func(c *jetstream.StreamConfig) { c.Subjects = []string{"$KV.sockeye-sessions.x"} }},
	} {
		c := bucket
		change.f(&c)
		tries(what, c, change.because)
	}
	for _, subjects := range [][]string{all, {"sio.>"}, {"sio.*.all", "sio.*.room.>", "sio.*.sock.>"}} { // others that do
		good.Subjects = subjects
		_ = js.DeleteStream(t.Context(), good.Name) // which New has made
		if _, err := js.CreateStream(t.Context(), good); err != nil {
			t.Fatal(subjects, err)
		}
		a, err := nats.New(connect(t, s.addr()), o)
		if err != nil {
			t.Fatal(err)
		}
		_ = a.Close(t.Context())
		if err := js.DeleteStream(t.Context(), good.Name); err != nil {
			t.Fatal(err)
		}
	}
	o.JetStream.Sessions = "a b"
	refused("a bucket's name", "letters")
}

// TestLostOnTheWay: what the stream has handed on, and what was lost before it came, is read
// from the stream, in its order.
func TestLostOnTheWay(t *testing.T) {
	t.Parallel()
	s := startServer(t, true)
	a := newKeeper(t, s.addr())
	adapter, deaf, err := nats.NewDeaf(connect(t, s.addr()), quick(silent, withRecovery))
	if err != nil {
		t.Fatal(err)
	}
	b := keeps(t, adapter)
	var want []string
	emit := func() {
		n := len(want) + 1
		a.append(t, `["e"]`, uint64(n))
		want = append(want, fmt.Sprintf(`["e"] %d`, n))
		a.expects(t, want...)
	}
	emit()
	b.expects(t, want...)
	deaf(true)
	emit()
	emit()
	deaf(false)
	emit() // behind what was lost
	b.expects(t, want...)
	deaf(true)
	emit()
	b.expects(t, want...) // nothing comes behind it
	deaf(false)
	emit()
	b.expects(t, want...)
	if a.h.Position() != b.h.Position() {
		t.Errorf("one is at %s, the other at %s", a.h.Position(), b.h.Position())
	}
}

// TestStreamAnew: a stream that is deleted is made anew, servers go on with it, and what it
// does not have has been trimmed.
func TestStreamAnew(t *testing.T) {
	for _, o := range []nats.Options{quick(silent, withStream), quick(silent, withRecovery)} {
		s := startServer(t, true)
		a, b := newSide(t, s.addr(), "AAAAAA", o), newSide(t, s.addr(), "BBBBBB", o)
		adaptertest.Meet(t, a, b.Record)
		for range 3 {
			for range 20 {
				adaptertest.Emit(t, a, `["before"]`)
			}
			adaptertest.Eventually(t, "all has come", func() bool { return len(b.Got()) == 20 })
			if err := streams(t, s.addr()).DeleteStream(t.Context(), "sockeye"); err != nil {
				t.Fatal(err)
			}
			b.Record.Forget()
			adaptertest.Meet(t, a, b.Record)
			adaptertest.Emit(t, a, `[1]`)
			adaptertest.Emit(t, a, `[2]`)
			b.Expect(t, `[1]`, `[2]`)
			b.Record.Forget()
		}
	}
	s := startServer(t, true)
	a := newKeeper(t, s.addr())
	before := a.h.Position()
	a.append(t, `["e"]`, 1)
	a.expects(t, `["e"] 1`)
	if err := streams(t, s.addr()).DeleteStream(t.Context(), "sockeye"); err != nil {
		t.Fatal(err)
	}
	adaptertest.Eventually(t, "it is made anew", func() bool {
		_ = a.h.Append(broadcast.Payload{JSON: []byte(`["e"]`)}, broadcast.Target{}, 2)
		order, ok := a.h.Compare(before, a.h.Position())
		return ok && order < 0 && strings.Split(before, "-")[0] != strings.Split(a.h.Position(), "-")[0]
	})
	if list, err := a.reads(t, before, a.h.Position()); !errors.Is(err, broadcast.ErrTrimmed) {
		t.Errorf("%q, %v", list, err)
	}
}

// TestStreamGoesBack: a NATS server that has lost what it had not on disk gives numbers
// anew, and offsets of before are none.
func TestStreamGoesBack(t *testing.T) {
	s := startServer(t, true)
	a := newKeeper(t, s.addr())
	for i := range 3 {
		a.append(t, `["kept"]`, uint64(i+1))
	}
	a.expects(t, `["kept"] 1`, `["kept"] 2`, `["kept"] 3`)
	kept := a.h.Position()
	s.stop(t) // all is on disk
	copied := t.TempDir() + "/copy"
	if err := os.CopyFS(copied, os.DirFS(s.o.Dir)); err != nil {
		t.Fatal(err)
	}
	s.start(t)
	b := newKeeper(t, s.addr())
	offsets := []string{b.h.Position()}
	for i := range 3 {
		b.append(t, `["lost"]`, uint64(i+1))
		b.expects(t, []string{`["lost"] 1`, `["lost"] 2`, `["lost"] 3`}[:i+1]...)
		adaptertest.Eventually(t, "it has been reached", func() bool { return b.h.Position() != offsets[i] })
		offsets = append(offsets, b.h.Position())
	}
	if offsets[0] != kept {
		t.Errorf("%s, not %s", offsets[0], kept)
	}
	s.kill()
	s.o.Dir = copied
	s.start(t)
	c := newKeeper(t, s.addr())
	for i := range 5 {
		c.append(t, `["new"]`, uint64(i+1))
		c.expects(t, []string{`["new"] 1`, `["new"] 2`, `["new"] 3`, `["new"] 4`, `["new"] 5`}[:i+1]...)
		adaptertest.Eventually(t, "it has been reached", func() bool {
			list, err := c.reads(t, offsets[0], c.h.Position())
			return err == nil && len(list) == i+1
		})
		if i == 2 { // as many as were lost
			if list, err := c.reads(t, offsets[3], c.h.Position()); !errors.Is(err, broadcast.ErrTrimmed) {
				t.Errorf("behind the last one of before: %q, %v", list, err)
			}
		}
	}
	for i, at := range offsets[1:] {
		if list, err := c.reads(t, at, c.h.Position()); !errors.Is(err, broadcast.ErrTrimmed) {
			t.Errorf("behind %d: %q, %v", i+1, list, err)
		}
	}
	adaptertest.Eventually(t, "the others go on", func() bool { return b.h.Position() == c.h.Position() })
}

// TestKeptGarbage: what is in the stream and is no event of the namespace is counted when it
// comes, and passed over when it is read.
func TestKeptGarbage(t *testing.T) {
	s := startServer(t, true)
	a := newKeeper(t, s.addr())
	nc := connect(t, s.addr())
	before := a.h.Position()
	ignored := a.a.Stats().Ignored
	event := `{"type":3,"data":{"packet":{"data":["forged"]},"opts":{}},"uid":"x","nsp":"%s"}`
	list := []string{"", "{", "\xc6\xff\xff\xff\xff", fmt.Sprintf(event, "/other"), `{"type":3,"data":{"packet":{"data":["forged"]},"opts":{}},"uid":"x","nsp":"/","n":-1}`, "null"}
	a.append(t, `["first"]`, 1)
	a.expects(t, `["first"] 1`)
	for i, data := range list {
		m := natsgo.NewMsg("sio.Lw.all")
		m.Data = []byte(data)
		if i%2 == 0 { // with what looks like the stream's headers
			for name, value := range map[string]string{"Nats-Sequence": "1", "Nats-Stream": "other", "Nats-Time-Stamp": "never", "Nats-Subject": "sio.eA.all", "Status": "404"} {
				m.Header.Set(name, value)
			}
		}
		if _, err := nc.RequestMsg(m, 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	a.append(t, `["second"]`, 2)
	a.expects(t, `["first"] 1`, `["second"] 2`)
	if n := a.a.Stats().Ignored - ignored; n != uint64(len(list)) {
		t.Errorf("%d are ignored, not %d", n, len(list))
	}
	adaptertest.Eventually(t, "both are read", func() bool {
		got, err := a.reads(t, before, a.h.Position())
		return err == nil && slices.Equal(got, []string{`["first"] 1`, `["second"] 2`})
	})
	if n := a.a.Stats().Ignored - ignored; n != uint64(len(list)) {
		t.Errorf("%d are ignored, not %d", n, len(list))
	}
	for _, at := range []string{"", "x", before + "-", strings.Repeat("1", 20) + "-1"} {
		if list, err := a.reads(t, at, a.h.Position()); at != a.h.Position() && err == nil && len(list) > 0 {
			t.Errorf("behind %q: %q", at, list)
		}
	}
}

// TestLargest: the largest event that NATS takes comes, and is read.
func TestLargest(t *testing.T) {
	s := startServer(t, true)
	a, b := newKeeper(t, s.addr()), newKeeper(t, s.addr())
	before := a.h.Position()
	size := 1 << 20
	for ; ; size-- {
		p := broadcast.Payload{JSON: []byte(`["` + strings.Repeat("x", size-4) + `"]`)}
		err := a.h.Append(p, broadcast.Target{}, 1)
		if err == nil {
			break
		}
		if !errors.Is(err, nats.ErrTooLarge) || size < 1<<20-1000 {
			t.Fatal(err)
		}
	}
	want := fmt.Sprint(size, " 1")
	a.expects(t, want)
	b.expects(t, want)
	adaptertest.Eventually(t, "it is read", func() bool {
		got, err := b.reads(t, before, b.h.Position())
		return err == nil && slices.Equal(got, []string{want})
	})
}

// TestQuietStream: who has got the last event has missed nothing, also when it is no longer
// there; who has not has.
func TestQuietStream(t *testing.T) {
	s := startServer(t, true)
	a := newKeeper(t, s.addr())
	before := a.h.Position()
	a.append(t, `["last"]`, 1)
	a.expects(t, `["last"] 1`)
	adaptertest.Eventually(t, "it has been reached", func() bool { return a.h.Position() != before })
	at := a.h.Position()
	stream, err := streams(t, s.addr()).Stream(t.Context(), "sockeye")
	if err == nil {
		err = stream.Purge(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	if list, err := a.reads(t, before, at); !errors.Is(err, broadcast.ErrTrimmed) {
		t.Errorf("%q, %v", list, err)
	}
	a.append(t, `["new"]`, 2)
	a.expects(t, `["last"] 1`, `["new"] 2`)
	adaptertest.Eventually(t, "the new one is read", func() bool {
		list, err := a.reads(t, at, a.h.Position())
		return err == nil && slices.Equal(list, []string{`["new"] 2`})
	})
}

// TestWentBack: a server that was away while NATS has lost what it had not on disk, and others
// have gone on, gets all that these have sent, and nothing twice.
func TestWentBack(t *testing.T) {
	for _, more := range []int{1, 3, 10} {
		s := startServer(t, true)
		a := newKeeper(t, s.addr())
		for i := range 3 {
			a.append(t, `["kept"]`, uint64(i+1))
		}
		a.expects(t, `["kept"] 1`, `["kept"] 2`, `["kept"] 3`)
		s.stop(t) // all is on disk
		copied := t.TempDir() + "/copy"
		if err := os.CopyFS(copied, os.DirFS(s.o.Dir)); err != nil {
			t.Fatal(err)
		}
		s.start(t)
		p := adaptertest.NewProxy(t, s.addr())
		b := newKeeper(t, p.Addr())
		adaptertest.Eventually(t, "the bus is back", func() bool { return !a.a.Stats().Down })
		want := []string{}
		for i := range 5 {
			b.append(t, `["lost"]`, uint64(i+1))
			want = append(want, fmt.Sprintf(`["lost"] %d`, i+1))
		}
		b.expects(t, want...)
		p.Cut(true)
		s.kill()
		s.o.Dir = copied
		s.start(t)
		c := newKeeper(t, s.addr())
		for i := range more {
			c.append(t, `["new"]`, uint64(i+1))
			want = append(want, fmt.Sprintf(`["new"] %d`, i+1))
		}
		c.expects(t, want[5:]...)
		p.Cut(false)
		b.expects(t, want...)
		c.append(t, `["end"]`, uint64(more+1))
		b.expects(t, append(want, fmt.Sprintf(`["end"] %d`, more+1))...)
		adaptertest.Eventually(t, "both are at the end", func() bool { return b.h.Position() == c.h.Position() })
	}
}

// TestFirstAnew: a stream that is made anew before it has had anything is told from the one
// before, and nothing comes twice.
func TestFirstAnew(t *testing.T) {
	s := startServer(t, true)
	a := newKeeper(t, s.addr())
	before := a.h.Position()
	js := streams(t, s.addr())
	stream, err := js.Stream(t.Context(), "sockeye")
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), "sockeye"); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), stream.CachedInfo().Config); err != nil {
		t.Fatal(err)
	}
	a.append(t, `["e"]`, 1)
	a.expects(t, `["e"] 1`)
	adaptertest.Eventually(t, "it is known that it is another", func() bool {
		return strings.Split(before, "-")[0] != strings.Split(a.h.Position(), "-")[0]
	})
	a.append(t, `["e"]`, 2)
	a.expects(t, `["e"] 1`, `["e"] 2`)
}

// TestReadOn: who reads past much that is for others gets on, also when not all of it can be
// read in time.
func TestReadOn(t *testing.T) {
	s := startServer(t, true)
	a := newKeeper(t, s.addr())
	before := a.h.Position()
	for i := range 3000 {
		if err := a.h.Append(broadcast.Payload{JSON: []byte(`["e"]`)}, broadcast.Target{Rooms: []string{"others"}}, uint64(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	a.append(t, `["end"]`, 3001)
	adaptertest.Eventually(t, "all has come", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.got) == 3001
	})
	var end string
	adaptertest.Eventually(t, "it has been reached", func() bool { end = a.h.Position(); return strings.Split(end, "-")[1] == "bb9" })
	p := adaptertest.NewProxy(t, s.addr())
	b := newKeeper(t, p.Addr())
	p.Delay(20 * time.Millisecond)
	var got []string
	for at := before; at != end; {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		list, next, err := b.h.Read(ctx, at, end, nil, 64<<10)
		cancel()
		if err != nil || next == at {
			t.Fatalf("from %s to %s: %v", at, next, err)
		}
		for _, e := range list {
			got = append(got, text(e))
		}
		at = next
	}
	if !slices.Equal(got, []string{`["end"] 3001`}) {
		t.Errorf("%q", got)
	}
}

// TestNoEcho: a connection that does not get what it sends gets what the stream hands on.
func TestNoEcho(t *testing.T) {
	s := startServer(t, true)
	adapter, err := nats.New(connect(t, s.addr(), natsgo.NoEcho()), quick(silent, withRecovery))
	if err != nil {
		t.Fatal(err)
	}
	a := keeps(t, adapter)
	a.append(t, `["e"]`, 1)
	a.expects(t, `["e"] 1`)
}

// TestLeavesNothing: of an adapter that is closed, also while it is being asked, nothing is
// left on the user's connection, and no goroutine.
func TestLeavesNothing(t *testing.T) {
	s := startServer(t, true)
	nc := connect(t, s.addr())
	round := func(kind func(o *nats.Options)) {
		a, err := nats.New(nc, quick(silent, kind))
		if err != nil {
			t.Fatal(err)
		}
		k := &keeper{a: a}
		remote, err := a.Join(k)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			_ = remote.Broadcast(broadcast.Payload{JSON: []byte(`["e"]`)}, broadcast.Target{})
		}
		var all sync.WaitGroup
		if k.h = remote.(interface{ History() broadcast.History }).History(); k.h != nil {
			for range 4 {
				all.Go(func() {
					for i := range 20 {
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*200*time.Microsecond)
						_, _ = k.h.PutSessions(ctx, []broadcast.StoredSession{session("p", "a", "1", time.Minute), session("q", "a", "1", time.Minute)})
						_, _, _ = k.h.TakeSession(ctx, "p", "a", time.Minute)
						_, _, _ = k.h.Read(ctx, "1-1", k.h.Position(), nil, 1000)
						cancel()
					}
				})
			}
		}
		_ = a.Close(t.Context())
		all.Wait()
	}
	kinds := []func(o *nats.Options){withStream, withRecovery}
	for _, kind := range kinds {
		round(kind)
	}
	subscriptions, goroutines := 0, 0
	settled := func() bool {
		subscriptions, goroutines = nc.NumSubscriptions(), runtime.NumGoroutine()
		return true
	}
	adaptertest.Eventually(t, "it is quiet", func() bool {
		n := nc.NumSubscriptions()
		time.Sleep(50 * time.Millisecond)
		return settled() && subscriptions == n
	})
	for range 10 {
		for _, kind := range kinds {
			round(kind)
		}
	}
	adaptertest.Eventually(t, fmt.Sprintf("there are %d subscriptions and %d goroutines again", subscriptions, goroutines), func() bool {
		return nc.NumSubscriptions() <= subscriptions && runtime.NumGoroutine() <= goroutines
	})
}

// TestUnanswered: what a stream never answers is given up, and does not take the place of what
// follows.
func TestUnanswered(t *testing.T) {
	s := startServer(t, true)
	o := quick(silent, withStream)
	o.SendTimeout = 100 * time.Millisecond
	adapter, unanswered, err := nats.NewCounting(connect(t, s.addr()), o)
	if err != nil {
		t.Fatal(err)
	}
	a, err := adapter.Join(&adaptertest.Record{ID: "AAAAAA"})
	if err != nil {
		t.Fatal(err)
	}
	b := newSide(t, s.addr(), "BBBBBB", o)
	adaptertest.Meet(t, a, b.Record)
	js := streams(t, s.addr())
	stream, err := js.Stream(t.Context(), "sockeye")
	if err != nil {
		t.Fatal(err)
	}
	c := stream.CachedInfo().Config
	answers := func(on bool) {
		c.NoAck = !on
		if _, err := js.UpdateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	answers(false)
	for range 100 {
		adaptertest.Emit(t, a, `["unanswered"]`)
	}
	adaptertest.Eventually(t, "it is known", func() bool { return adapter.Stats().Lost > 0 })
	if n := unanswered(); n != 0 {
		t.Errorf("%d answers are still expected", n)
	}
	answers(true)
	adaptertest.Eventually(t, "the end comes", func() bool {
		_ = a.Broadcast(broadcast.Payload{JSON: []byte(`["end"]`)}, broadcast.Target{})
		return slices.Contains(b.Got(), `["end"]`)
	})
}

// TestMirror: what an operator's mirrors answer in place of the streams is taken as theirs.
func TestMirror(t *testing.T) {
	s := startServer(t, true)
	a := newKeeper(t, s.addr())
	before := a.h.Position()
	a.append(t, `["e"]`, 1)
	a.expects(t, `["e"] 1`)
	a.puts(t, "[]", session("p", "a", "0", time.Minute))
	js := streams(t, s.addr())
	for _, name := range []string{"sockeye", "KV_sockeye-sessions"} {
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name + "-copy", Mirror: &jetstream.StreamSource{Name: name}, AllowMsgTTL: true}); err != nil {
			t.Fatal(err)
		}
		nc := connect(t, s.addr())
		adaptertest.Eventually(t, "the mirror answers", func() bool {
			m, err := nc.Request("$JS.API.DIRECT.GET."+name, []byte(`{"seq":1}`), time.Second)
			return err == nil && m.Header.Get("Nats-Stream") == name+"-copy"
		})
	}
	var end string
	adaptertest.Eventually(t, "it has been reached", func() bool { end = a.h.Position(); return end != before })
	for i := range 30 {
		if list, err := a.reads(t, before, end); err != nil || !slices.Equal(list, []string{`["e"] 1`}) {
			t.Fatalf("%d: %q, %v", i, list, err)
		}
		a.puts(t, "[]", session("p", "a", fmt.Sprint(i), time.Minute))
	}
	a.takes(t, "p", "b", "29", "a")
}

// TestInMemory: NATS that kept all in memory begins anew, and its servers with it.
func TestInMemory(t *testing.T) {
	s := startServer(t, true)
	adapter, err := nats.New(connect(t, s.addr()), quick(silent, func(o *nats.Options) { o.JetStream = &nats.JetStream{Recovery: true, Memory: true} }))
	if err != nil {
		t.Fatal(err)
	}
	a := keeps(t, adapter)
	want := []string{}
	for i := range 3 {
		a.append(t, `["e"]`, uint64(i+1))
		want = append(want, fmt.Sprintf(`["e"] %d`, i+1))
	}
	a.expects(t, want...)
	a.puts(t, "[]", session("p", "a", "1", time.Minute))
	before := a.h.Position()
	for round := range 2 {
		if round == 0 {
			s.kill()
		} else {
			s.stop(t)
		}
		s.start(t)
		adaptertest.Eventually(t, "it is made anew", func() bool { return strings.Split(a.h.Position(), "-")[0] != strings.Split(before, "-")[0] })
		before = a.h.Position()
		n := len(want) + 1
		adaptertest.Eventually(t, "it is sent", func() bool {
			return a.h.Append(broadcast.Payload{JSON: []byte(`["e"]`)}, broadcast.Target{}, uint64(n)) == nil
		})
		want = append(want, fmt.Sprintf(`["e"] %d`, n))
		a.expects(t, want...)
		adaptertest.Eventually(t, "sessions are written", func() bool {
			_, err := a.h.PutSessions(t.Context(), []broadcast.StoredSession{session("p", "a", "2", time.Minute)})
			return err == nil
		})
	}
}

// rights are what docs/cluster.md says that a server needs.
func rights(o *serverOptions) {
	o.Publish = []string{
		"sio.>", "$KV.sockeye-sessions.>", "$JS.API.STREAM.INFO.*", "$JS.API.STREAM.CREATE.*", "$JS.API.STREAM.MSG.GET.*", "$JS.API.DIRECT.GET.*",
		"$JS.API.INFO", // the test's own
	}
	o.Subscribe = []string{"sio.>", "sio-kept.>", "_INBOX.>"}
}

// TestRights: a server needs no more rights at NATS than are documented. One that may not
// subscribe to what the stream hands on reads it, late, and says so.
func TestRights(t *testing.T) {
	t.Parallel()
	s := startServer(t, true, rights)
	a, b := newKeeper(t, s.addr()), newKeeper(t, s.addr())
	before := a.h.Position()
	a.append(t, `["e"]`, 1)
	b.expects(t, `["e"] 1`)
	a.puts(t, "[]", session("p", "a", "1", time.Minute))
	b.takes(t, "p", "b", "1", "a")
	adaptertest.Eventually(t, "it is read", func() bool {
		list, err := b.reads(t, before, b.h.Position())
		return err == nil && slices.Equal(list, []string{`["e"] 1`})
	})

	s = startServer(t, true, rights, func(o *serverOptions) { o.Subscribe = []string{"sio.>", "_INBOX.>"} })
	var said syncBuffer
	o := quick(silent, withRecovery)
	o.Logger = slog.New(slog.NewTextHandler(&said, nil))
	adapter, err := nats.New(connect(t, s.addr()), o)
	if err != nil {
		t.Fatal(err)
	}
	a = keeps(t, adapter)
	a.append(t, `["e"]`, 1)
	for end := time.Now().Add(15 * time.Second); a.count() == 0 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
	}
	a.expects(t, `["e"] 1`)
	if text := said.String(); !strings.Contains(text, "allowed to subscribe") || !strings.Contains(text, "sio-kept.>") {
		t.Errorf("it says %q", text)
	}
}

// syncBuffer is a buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// TestSmallStream: what is larger than all that the stream keeps, or than it takes, harms
// nothing else.
func TestSmallStream(t *testing.T) {
	s := startServer(t, true)
	js := streams(t, s.addr())
	c := jetstream.StreamConfig{
		Name: "sockeye", Subjects: []string{"sio.>"}, AllowDirect: true, MaxBytes: 10_000, MaxMsgSize: 200_000,
		RePublish: &jetstream.RePublish{Source: ">", Destination: "sio-kept.>"},
	}
	if _, err := js.CreateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "KV_sockeye-sessions", Subjects: []string{"$KV.sockeye-sessions.>"}, MaxMsgsPerSubject: 1, AllowDirect: true, AllowMsgTTL: true, MaxMsgSize: 2000,
	}); err != nil {
		t.Fatal(err)
	}
	a, b := newKeeper(t, s.addr()), newKeeper(t, s.addr())
	before := a.h.Position()
	a.append(t, `["small"]`, 1)
	large := `["` + strings.Repeat("x", 100_000) + `"]`
	a.append(t, large, 2)
	a.append(t, `["small"]`, 3)
	if err := a.h.Append(broadcast.Payload{JSON: []byte(`["` + strings.Repeat("x", 200_000) + `"]`)}, broadcast.Target{}, 4); !errors.Is(err, nats.ErrTooLarge) {
		t.Errorf("%v", err)
	}
	a.append(t, `["small"]`, 4)
	want := []string{`["small"] 1`, fmt.Sprint(len(large), " 2"), `["small"] 3`, `["small"] 4`}
	a.expects(t, want...)
	b.expects(t, want...)
	adaptertest.Eventually(t, "what is not there is said to be so", func() bool {
		_, err := b.reads(t, before, b.h.Position())
		return errors.Is(err, broadcast.ErrTrimmed)
	})
	if st := a.a.Stats(); st.Lost != 0 || st.Down {
		t.Errorf("%+v", st)
	}
	a.puts(t, "[]", session("p", "a", "1", time.Minute), session("q", "a", strings.Repeat("x", 3000), time.Minute), session("r", "a", "1", time.Minute))
	b.takes(t, "p", "b", "1", "a")
	b.takes(t, "q", "b", "", "")
	b.takes(t, "r", "b", "1", "a")
}

// TestAskedAgain: who does not answer, as a leader that has just changed, is asked again.
func TestAskedAgain(t *testing.T) {
	s := startServer(t, false)
	nc := connect(t, s.addr())
	asked := 0
	if _, err := nc.Subscribe("leader", func(m *natsgo.Msg) {
		if asked++; asked == 3 {
			_ = m.Respond(fmt.Append(nil, "asked ", asked, " times"))
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	answer, err := nats.Insist(ctx, connect(t, s.addr()), "leader", 20*time.Millisecond)
	if err != nil || answer != "asked 3 times" {
		t.Errorf("%q, %v", answer, err)
	}
}
