package nats_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
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
	c := jetstream.StreamConfig{Name: "sockeye", Subjects: []string{"sio.*.all"}, RePublish: &jetstream.RePublish{Source: ">", Destination: "sio-kept.>"}}
	if _, err := js.CreateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	refused("a stream that cannot be read directly", "--allow-direct")
	c.AllowDirect = true
	if _, err := js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "sockeye-sessions"}); err != nil {
		t.Fatal(err)
	}
	refused("a bucket without expiry", "AllowMsgTTL")
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
	}
	c.expects(t, `["new"] 1`, `["new"] 2`, `["new"] 3`, `["new"] 4`, `["new"] 5`)
	adaptertest.Eventually(t, "it has been reached", func() bool {
		list, err := c.reads(t, offsets[0], c.h.Position())
		return err == nil && len(list) == 5
	})
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
