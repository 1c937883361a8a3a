package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestOptions(t *testing.T) {
	o, err := parse(strings.Fields("-mode echo wss://host:444/path/?token=secret -stages 10@5:1s,20@0:2s,0 -namespace /n -source 127.0.0.2-127.0.0.4,127.0.0.9 -rate 5"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if want := []stage{{10, 5, time.Second}, {20, 0, 2 * time.Second}, {0, 0, 0}}; !slices.Equal(o.stages, want) {
		t.Errorf("stages %v", o.stages)
	}
	if len(o.sources) != 4 || o.sources[3].String() != "127.0.0.9" || o.event != "echo" || o.tls == nil || o.tls.ServerName != "host" || o.most() != 20 {
		t.Errorf("%+v", o)
	}
	if u := o.shownURL(); u != "https://host:444/path/?…" {
		t.Errorf("shown as %s", u)
	}
	for _, url := range []string{"host:3000", "http://host:3000", "ws://host:3000/"} {
		if o, err := parse([]string{url}, io.Discard); err != nil || o.shownURL() != "http://host:3000/socket.io/" {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestOptionsThatCannotBe(t *testing.T) {
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(notPEM, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{
		"", "http://a http://b", "ftp://a", "http://", "http://user:pw@a", "-mode x a", "-transport x a", "-connections 0 a", "-connections -1 a",
		"-ramp -1 a", "-ramp NaN a", "-duration -1s a", "-stages x a", "-stages 5@x a", "-stages 5@1:x a", "-stages 0@1:1s a", "-stages 5 -connections 5 a",
		"-namespace n a", "-namespace /a,b a", "-auth 7 a", "-auth {n} a", "-auth { a", "-header x a", "-header a\nb:c a", "-size -1 a", "-size 9999999 a",
		"-rate -1 a", "-rate NaN a", "-window 0 a", "-mode echo -senders 0 a", "-senders -2 a", "-receivers -1 a", "-connecting 0 a", "-timeout 0s a",
		"-max-message 5 a", "-source x a", "-source 127.0.0.9-127.0.0.1 a", "-source 10.0.0.0-10.1.0.0 a", "-source 127.0.0.1-::1 a", "-insecure a", "-ca x a",
		"-ca " + notPEM + " https://a", "-ca /nowhere https://a", "-fail-errors x a", "-fail-errors -1 a", "-fail-p99 1s a", "-fail-p99 -1s -mode echo a", "-nothing a",
		"-json - -html - a", "-json x -html x a",
	} {
		list := strings.Split(args, " ")
		if args == "" {
			list = nil
		}
		if _, err := parse(list, io.Discard); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}

// TestReportsKeepSecrets: what may be one is not in the options that a report shows.
func TestReportsKeepSecrets(t *testing.T) {
	o, err := parse([]string{"-auth", `{"token":"hush"}`, "-header", "Authorization: Bearer hush", "http://a/?token=hush"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	r := newReport(o)
	var b strings.Builder
	if err := r.writeJSON(&b); err != nil {
		t.Fatal(err)
	}
	if err := r.writeHTML(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "hush") || !strings.Contains(b.String(), "Authorization") {
		t.Error(b.String())
	}
}
