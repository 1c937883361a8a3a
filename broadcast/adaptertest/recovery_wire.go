package adaptertest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// wire is a peer by polling, which says what it likes.
type wire struct {
	t   *testing.T
	url string // with the session's ID

	id, pid string   // what CONNECT was answered
	got     []string // events, without their offsets
	offsets []string // of each
	over    bool     // the server has ended it
	torn    bool     // its server may have been killed
}

// wire connects one to a server; with auth it sends CONNECT.
func (w *world) wire(server int, auth string) *wire {
	w.t.Helper()
	p := w.opens(server)
	p.connect(auth)
	return p
}

// opens opens a session.
func (w *world) opens(server int) *wire {
	w.t.Helper()
	p := &wire{t: w.t, url: w.urls[server] + "/socket.io/?EIO=4&transport=polling"}
	var open struct {
		SID string `json:"sid"`
	}
	body := p.do(http.MethodGet, "")
	if len(body) == 0 || json.Unmarshal([]byte(body[1:]), &open) != nil || open.SID == "" {
		w.t.Fatalf("the handshake is %q", body)
	}
	p.url += "&sid=" + open.SID
	return p
}

// connect sends CONNECT, and waits for the answer.
func (p *wire) connect(auth string) {
	p.t.Helper()
	p.do(http.MethodPost, "40"+auth)
	for p.id == "" && !p.over {
		p.poll()
	}
}

func (p *wire) do(method, body string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, p.url, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err == nil {
		defer func() { _ = res.Body.Close() }()
	} else if !p.torn {
		p.t.Fatal(err)
	}
	var answer []byte
	if err == nil {
		if answer, err = io.ReadAll(res.Body); err != nil && !p.torn {
			p.t.Fatal(err)
		}
	}
	if err != nil {
		p.over = true
		return ""
	}
	if res.StatusCode != http.StatusOK {
		p.over = true
		return ""
	}
	return string(answer)
}

// poll reads what there is.
func (p *wire) poll() {
	p.t.Helper()
	for _, packet := range strings.Split(p.do(http.MethodGet, ""), "\x1e") {
		switch {
		case packet == "2":
			p.do(http.MethodPost, "3")
		case packet == "1":
			p.over = true
		case strings.HasPrefix(packet, "40"):
			var answer struct {
				SID string `json:"sid"`
				PID string `json:"pid"`
			}
			if err := json.Unmarshal([]byte(packet[2:]), &answer); err != nil {
				p.t.Fatalf("%q: %v", packet, err)
			}
			p.id, p.pid = answer.SID, answer.PID
		case strings.HasPrefix(packet, "42"):
			d := json.NewDecoder(strings.NewReader(packet[2:]))
			d.UseNumber()
			var list []any
			if err := d.Decode(&list); err != nil || len(list) < 2 {
				p.t.Fatalf("%q: %v", packet, err)
			}
			offset, _ := list[len(list)-1].(string)
			p.offsets = append(p.offsets, offset)
			p.got = append(p.got, fmt.Sprint(list[0])+Text(list[1:len(list)-1]))
		}
	}
}

// until polls until an event has come; false if the session is over.
func (p *wire) until(event string) bool {
	p.t.Helper()
	for end := time.Now().Add(limit); !p.over && !slices.Contains(p.got, event); {
		if time.Now().After(end) {
			p.t.Fatalf("%s has not come, but %q", event, p.got)
		}
		p.poll()
	}
	return !p.over
}

// close ends the connection, as one that breaks.
func (p *wire) close() { p.do(http.MethodPost, "1") }

// asks is the auth object of a peer that asks to be another one.
func asks(pid, offset string) string {
	auth := map[string]string{"pid": pid}
	if offset != "" {
		auth["offset"] = offset
	}
	b, _ := json.Marshal(auth)
	return string(b)
}

// gone waits until a server has no socket of an ID.
func (w *world) gone(server int, id string) {
	w.t.Helper()
	Eventually(w.t, "the socket has gone", func() bool { return w.servers[server].Socket(id) == nil })
}
