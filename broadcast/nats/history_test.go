package nats

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// FuzzPlace: an offset is read as what it was written, and whatever else a client claims is
// none, or has an order.
func FuzzPlace(f *testing.F) {
	for _, s := range []string{"", "-", "0-0", "1-2", "1-2-3", "1-2-0", "19a2b3c4d5e-ff-80000000", "1-2-3-4", "01-2", "1-02", "A-1", "1-2x", "+1-2", "1.2", "-1-2", "ffffffffffffffff-ffffffffffffffff-ffffffff", "10000000000000000-1", "1-1-100000000"} {
		f.Add(s, "1-2-3")
	}
	b := keepingBus{}
	f.Fuzz(func(t *testing.T, x, y string) {
		p, ok := parsePlace(x)
		if ok && (p.String() != x || strings.Contains(x, ".") || len(x) > 64) {
			t.Fatalf("%q is read as %q", x, p)
		}
		q, ok2 := parsePlace(y)
		order, both := b.Compare(x, y)
		if both != (ok && ok2) {
			t.Fatalf("%q and %q: %v", x, y, both)
		}
		if back, _ := b.Compare(y, x); back != -order {
			t.Fatalf("%q and %q: %d, but %d", x, y, order, back)
		}
		if both && p.made == q.made && (order < 0) != (p.seq < q.seq) {
			t.Fatalf("%q and %q: %d", x, y, order)
		}
	})
}

// FuzzRecord: what is in the bucket is read as it was written, or refused.
func FuzzRecord(f *testing.F) {
	for _, s := range []string{"", "\n", "\n\n", "a\nb\n{}", "a\n\n", "a\nb", strings.Repeat("x", 300) + "\n\n{}", "{\"a\":\"\\n\"}\n\n\n"} {
		f.Add([]byte(s))
	}
	f.Add(appendRecord(nil, record{owner: "0123456789abcdef/1", was: "0123456789abcdef/2", data: []byte(`{"nsp":"/","sid":"x"}`)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := readRecord(b)
		if err == nil && !bytes.Equal(appendRecord(nil, r), b) {
			t.Fatalf("%q is read as %+v", b, r)
		}
		if err == nil && (len(r.owner) > maxOwner || len(r.was) > maxOwner) {
			t.Fatalf("%+v", r)
		}
	})
}

// FuzzAnswer: what JetStream answers is read, or refused.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		"", "{", "null", "[]", "{}", `{"error":{}}`, `{"error":{"code":404,"err_code":10037,"description":"no message found"}}`,
		`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 1"}}`, `{"error":{"code":400,"err_code":10164}}`,
		`{"message":{"subject":"$KV.s.x","seq":3,"data":"YQpiCnt9","time":"2026-01-02T03:04:05.678Z"}}`, `{"message":{"seq":0}}`, `{"message":{"seq":-1}}`,
		`{"stream":"KV_s","seq":7}`, `{"seq":0}`, `{"seq":1e99}`, `{"message":{"seq":1,"data":7}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := readAnswer(b); err == nil && (s.seq == 0 || len(s.data) > len(b)) {
			t.Fatalf("%q is read as %+v", b, s)
		}
		ok, err := written(&nats.Msg{Data: b})
		var says struct {
			Error json.RawMessage `json:"error"`
			Seq   uint64          `json:"seq"`
		}
		if ok && (err != nil || json.Unmarshal(b, &says) != nil || says.Seq == 0 || len(says.Error) > 0 && string(says.Error) != "null") {
			t.Fatalf("%q: %v, %v", b, ok, err)
		}
	})
}

// FuzzStored: what is stored is read, with its place, or refused, whatever headers others
// have written.
func FuzzStored(f *testing.F) {
	m := &cluster.Message{Type: cluster.Broadcast, UID: "0123456789abcdef", Namespace: "/", Number: 7, Payload: broadcast.Payload{JSON: []byte(`["e",1]`)}}
	f.Add("sio.Lw.all", "1", "2026-01-02T03:04:05.678Z", "sockeye", cluster.AppendJSON(nil, m))
	m.Payload = broadcast.Payload{JSON: []byte(`["e",{"_placeholder":true,"num":0}]`), Attachments: [][]byte{{1, 2}}}
	b, err := cluster.AppendMsgpack(nil, m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("sio.Lw.room.cmVk", "18446744073709551615", "", "sockeye", b)
	f.Add("sio.~.all", "0", "yesterday", "other", []byte("{"))
	f.Add("sio.Lw", "-1", "0000-00-00T00:00:00Z", "sockeye", []byte(`{"type":3,"nsp":"/x","n":1}`))
	k := &kept{b: &bus{o: Options{Prefix: "sio"}}}
	f.Fuzz(func(t *testing.T, subject, seq, at, stream string, data []byte) {
		in := nats.NewMsg("x")
		in.Header.Add(headerSequence, "5") // a forged one
		in.Header.Add(headerSequence, seq)
		in.Header.Set(headerSubject, subject)
		in.Header.Set(headerTime, at)
		in.Header.Set(headerStream, stream)
		in.Data = data
		s, err := readStored(in, "sockeye")
		if err != nil {
			return
		}
		if s.seq == 0 || s.copied != (stream != "sockeye") || s.subject != subject || seq == "" {
			t.Fatalf("%+v", s)
		}
		m, err := k.decode(s, 3)
		if err != nil {
			return
		}
		if spaceOf("sio", subject) != space("sio", m.Namespace) {
			t.Fatalf("%q has an event of %q", subject, m.Namespace)
		}
		p, ok := parsePlace(m.Offset)
		if !ok || p.seq != s.seq || p.made != 3 || p.at != s.at {
			t.Fatalf("%q of %+v", m.Offset, s)
		}
	})
}

// TestKeys: keys are words of subjects, whatever a session is named, and told apart.
func TestKeys(t *testing.T) {
	k := &kept{o: JetStream{Sessions: "s"}}
	seen := map[string]bool{}
	for _, name := range []string{"", "/", "/ü *>.", "/" + strings.Repeat("x", 223), "/" + strings.Repeat("x", 224), "/" + strings.Repeat("x", 5000), "/" + strings.Repeat("x", 5001)} {
		key := k.key("01234567890123456789" + name)
		if seen[key] || len(key) > 330 || strings.Trim(key[len("$KV.s."):], "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=") != "" {
			t.Errorf("%q", key)
		}
		seen[key] = true
	}
}

// TestPassedOver: a namespace is not joined while an event of it is passed over, which the
// position says then.
func TestPassedOver(t *testing.T) {
	var ts topics
	ts.init(time.Hour)
	joined, passed := make(chan struct{}), false
	if ts.joined("sio.Lw", func() {
		go func() {
			ts.want("sio.Lw", "sio.Lw.beat", true)
			if !passed {
				t.Error("it is joined before")
			}
			close(joined)
		}()
		select {
		case <-joined:
			t.Error("it is joined meanwhile")
		case <-time.After(20 * time.Millisecond):
		}
		passed = true
	}) {
		t.Error("it is joined")
	}
	<-joined
	if !ts.joined("sio.Lw", nil) {
		t.Error("it is not joined")
	}
}
