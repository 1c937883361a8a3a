package prometheus

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
	"github.com/sockeye-io/sockeye/sockeyetest"
)

// gather is a scrape: the values by name and labels, histograms by their count.
func gather(t testing.TB, c prom.Collector) map[string]float64 {
	t.Helper()
	reg := prom.NewPedanticRegistry()
	if err := reg.Register(c); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += fmt.Sprintf("{%s=%q}", l.GetName(), l.GetValue())
			}
			values[name] = valueOf(m)
		}
	}
	return values
}

func valueOf(m *dto.Metric) float64 {
	switch {
	case m.Counter != nil:
		return m.Counter.GetValue()
	case m.Gauge != nil:
		return m.Gauge.GetValue()
	}
	return float64(m.Histogram.GetSampleCount())
}

func (v values) expect(t *testing.T, want map[string]float64) {
	t.Helper()
	for name, n := range want {
		if got, ok := v[name]; !ok || got != n {
			t.Errorf("%s is %v (there: %v); want %v", name, got, ok, n)
		}
	}
}

var quiet = slog.New(slog.DiscardHandler)

type values map[string]float64

func TestLint(t *testing.T) {
	srv := sockeyetest.NewServer(t, sockeye.Config{})
	c := NewCollector(srv.Server, Options{Labels: map[string]string{"server": "a"}})
	problems, err := testutil.CollectAndLint(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// leaves are the paths of all fields of a type of statistics.
func leaves(t reflect.Type, prefix string) (paths []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		switch of := f.Type; {
		case of.Kind() == reflect.Struct:
			paths = append(paths, leaves(of, prefix+f.Name+".")...)
		case of.Kind() == reflect.Slice && of.Elem().Kind() == reflect.Struct:
			paths = append(paths, leaves(of.Elem(), prefix+f.Name+".")...)
		default:
			paths = append(paths, prefix+f.Name)
		}
	}
	return paths
}

// TestEveryField: what Stats has is exported, or left out for a reason.
func TestEveryField(t *testing.T) {
	exported := map[string]bool{}
	for _, r := range rows {
		if exported[r.field] {
			t.Errorf("%s has two rows", r.field)
		}
		exported[r.field] = true
	}
	all := leaves(reflect.TypeFor[sockeye.Stats](), "")
	for _, path := range all {
		why, left := leftOut[path]
		switch {
		case left == exported[path]:
			t.Errorf("%s: exported: %v, left out: %v; a field of Stats is one of them: give it a row in rows.go", path, exported[path], left)
		case left && why == "":
			t.Errorf("%s is left out without a reason", path)
		}
	}
	for path := range leftOut {
		if !slices.Contains(all, path) {
			t.Errorf("%s is left out, and no field", path)
		}
	}
}

// fill gives each number in v a value of its own, and notes it under its path, with what
// the label's value is to be.
func fill(v reflect.Value, path, label string, want map[string]float64) {
	n := float64(len(want) + 1)
	switch {
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), strings.TrimPrefix(path+"."+v.Type().Field(i).Name, "."), label, want)
		}
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), path, fmt.Sprint(i), want)
		}
	case v.Kind() == reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for i, key := range []string{"a", "b"} {
			value := reflect.New(v.Type().Elem()).Elem()
			value.SetUint(uint64(n) + uint64(i))
			v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), value)
			want[path+"|"+key] = n + float64(i)
		}
	case v.Type() == reflect.TypeFor[time.Duration]():
		v.SetInt(int64(time.Duration(n) * time.Second))
		want[path+"|"+label] = n
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
		want[path+"|"+label] = 1
	case v.CanInt():
		v.SetInt(int64(n))
		want[path+"|"+label] = n
	default:
		v.SetUint(uint64(n))
		want[path+"|"+label] = n
	}
}

// TestEveryRow reads the field that it says: each has a value of its own here.
func TestEveryRow(t *testing.T) {
	var stats sockeye.Stats
	want := map[string]float64{}
	fill(reflect.ValueOf(&stats).Elem(), "", "", want)
	seen := map[string]bool{}
	for _, r := range readers(rows, nil) {
		ch := make(chan prom.Metric, 10)
		r.read(reflect.ValueOf(&stats).Elem(), ch)
		close(ch)
		for metric := range ch {
			var m dto.Metric
			if err := metric.Write(&m); err != nil {
				t.Fatal(err)
			}
			label := ""
			if len(m.Label) > 0 {
				label = m.Label[0].GetValue()
			}
			of := label
			if r.value != "" {
				of = ""
			}
			if got, ok := want[r.field+"|"+of]; !ok || got != valueOf(&m) {
				t.Errorf("%s: %v, want %v, of %s %q", r.name, valueOf(&m), got, r.field, of)
			}
			if series := r.name + "{" + label; seen[series] {
				t.Errorf("%s is there twice", series)
			} else {
				seen[series] = true
			}
		}
	}
	if len(seen) < len(rows) {
		t.Errorf("%d series of %d rows", len(seen), len(rows))
	}
}

func TestTraffic(t *testing.T) {
	srv := sockeyetest.NewServer(t, sockeye.Config{Logger: quiet, MaxConns: 77, MaxMemory: 123 << 20})
	c := NewCollector(srv.Server, Options{})
	srv.OnConnect(func(s *sockeye.Socket) error { return s.Join("lobby") })
	srv.On("say", func(string) {})
	peer := srv.Connect(t, sockeyetest.Options{})
	srv.Connect(t, sockeyetest.Options{})
	values(gather(t, c)).expect(t, map[string]float64{"sockeye_live": 1, "sockeye_ready": 1})
	srv.Retire()
	values(gather(t, c)).expect(t, map[string]float64{"sockeye_live": 1, "sockeye_ready": 0})
	peer.Emit("say", "x")
	peer.Emit("invented")
	peer.Call("say")
	values(gather(t, c)).expect(t, map[string]float64{
		`sockeye_connections`:                                 2,
		`sockeye_connections_limit`:                           77,
		`sockeye_memory_limit_bytes`:                          123 << 20,
		`sockeye_sessions{transport="websocket"}`:             2,
		`sockeye_sessions{transport="polling"}`:               0,
		`sockeye_connects_total`:                              2,
		`sockeye_disconnects_total{reason="transport close"}`: 0,
		`sockeye_refusals_total{reason="UNKNOWN_SID"}`:        0,
		`sockeye_loop_connections{loop="1"}`:                  1,
		`sockeye_sockets{namespace="/"}`:                      2,
		`sockeye_rooms{namespace="/"}`:                        1,
		`sockeye_namespaces{kind="fixed"}`:                    1,
		`sockeye_namespaces{kind="dynamic"}`:                  0,
		`sockeye_events_received_total`:                       3,
		`sockeye_events_unhandled_total`:                      1,
		`sockeye_decode_errors_total`:                         1,
		`sockeye_handler_errors_total`:                        1,
		`sockeye_sessions_opened_total`:                       2,
		`sockeye_recovery_sockets{namespace="/"}`:             0,
	})
}

// TestNamespaces: series are bounded, whatever peers make.
func TestNamespaces(t *testing.T) {
	srv := sockeyetest.NewServer(t, sockeye.Config{})
	c := NewCollector(srv.Server, Options{MaxNamespaces: 2})
	srv.OfPattern(regexp.MustCompile(`/room-\d+`)).OnConnect(func(s *sockeye.Socket) error { return s.Join("a", "b") })
	for i := range 10 {
		srv.Connect(t, sockeyetest.Options{Namespace: fmt.Sprintf("/room-%d", i)})
	}
	for _, name := range []string{"/z", "/y", "/x"} {
		srv.Of(name)
		srv.Connect(t, sockeyetest.Options{Namespace: name})
	}
	want := map[string]float64{
		`sockeye_sockets{namespace="/"}`:       0,
		`sockeye_sockets{namespace="/x"}`:      1,
		`sockeye_sockets{namespace="other"}`:   2,
		`sockeye_sockets{namespace="dynamic"}`: 10,
		`sockeye_rooms{namespace="dynamic"}`:   20,
		`sockeye_namespaces{kind="fixed"}`:     4,
		`sockeye_namespaces{kind="dynamic"}`:   10,
	}
	got := values(gather(t, c))
	got.expect(t, want)
	srv.Of("/a") // the first by name, and too late to have a place
	again := values(gather(t, c))
	again.expect(t, map[string]float64{`sockeye_sockets{namespace="/x"}`: 1, `sockeye_sockets{namespace="other"}`: 2})
	if len(got) != len(again) {
		t.Errorf("%d series, then %d", len(got), len(again))
	}
	for name := range again {
		if strings.Contains(name, "recover") && strings.HasSuffix(name, `_total{namespace="dynamic"}`) {
			t.Errorf("%s may fall", name)
		}
	}
}

// TestShutdown scrapes all the time while a server starts, works and ends.
func TestShutdown(t *testing.T) {
	srv, err := sockeye.New(sockeye.Config{Loops: 2, CloseTimeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	c := NewCollector(srv, Options{})
	srv.UseEvents(c.Events)
	srv.On("say", func(s *sockeye.Socket, room string) error { return s.Join(room) })
	reg := prom.NewPedanticRegistry()
	reg.MustRegister(c)
	stop := make(chan struct{})
	var scrapers sync.WaitGroup
	for range 2 {
		scrapers.Go(func() {
			for {
				if _, err := reg.Gather(); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		w := wiretest.Connect(t, addr.String())
		w.Write(fmt.Sprintf(`420["say","room %d"]`, i))
		w.Expect(`430[]`)
	}
	if got := gather(t, c)[`sockeye_rooms{namespace="/"}`]; got != 10 {
		t.Errorf("%v rooms", got)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	values(gather(t, c)).expect(t, map[string]float64{
		"sockeye_ready": 0, "sockeye_connections": 0, `sockeye_sockets{namespace="/"}`: 0, `sockeye_disconnects_total{reason="server shutting down"}`: 10,
	})
	close(stop)
	scrapers.Wait()
}
