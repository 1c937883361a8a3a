// Package importtest holds the layering: which package may import which.
package importtest

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sockeye-io/sockeye"

// allowed are the packages of ours, and of others outside the standard library,
// that a package may import. docs/architecture.md draws the same.
var allowed = map[string][]string{
	"/proto":             {},
	"/proto/eio":         {},
	"/proto/sio":         {},
	"/proto/http1":       {},
	"/proto/proxyproto":  {},
	"/proto/tls13":       {"golang.org/x/crypto/chacha20poly1305"},
	"/proto/ws":          {"/internal/bytepool", "github.com/gobwas/ws", "github.com/klauspost/compress/flate"},
	"/internal/bytepool": {"github.com/valyala/bytebufferpool"},
	"/netpoll": {
		"/internal/bridging", "/internal/bytepool", "/internal/fifo", "/internal/ratelog", "/proto/http1", "/proto/proxyproto", "/proto/tls13", "/proto/ws",
		"github.com/panjf2000/gnet/v2/pkg/errors", "github.com/panjf2000/gnet/v2/pkg/netpoll",
		"github.com/valyala/bytebufferpool", "golang.org/x/sys/unix",
		"/internal/goroutine",
	},
	"/netpoll/netpolltest":   {"/internal/tlspeer", "/netpoll"},
	"/internal/goroutine":    {},
	"/internal/bridging":     {},
	"/internal/tlspeer":      {"/proto/tls13"},
	"/internal/idtable":      {},
	"/internal/load":         {},
	"/internal/lend":         {"/internal/goroutine"},
	"/internal/fifo":         {},
	"/internal/ratelog":      {},
	"/internal/tally":        {},
	"/internal/seam":         {"/internal/lend", "/netpoll"},
	"/engine":                {"/internal/idtable", "/internal/ratelog", "/internal/tally", "/proto/eio", "/proto/http1", "/proto/ws", "/netpoll"},
	"/broadcast":             {"/engine", "/internal/goroutine", "/internal/idtable", "/proto/sio", "/netpoll"},
	"/broadcast/bridge":      {"/broadcast", "/broadcast/cluster", "/internal/ratelog"},
	"/broadcast/cluster":     {"/broadcast", "/internal/arguments", "/internal/fifo", "/internal/msgpack", "/internal/ratelog", "/proto/sio"},
	"/broadcast/adaptertest": {"", "/broadcast", "/broadcast/cluster", "/client", "/proto/sio"},
	"/docs":                  {},
	"/contract":              {""},
	"/client":                {"/internal/arguments", "/internal/fifo", "/proto/eio", "/proto/sio", "github.com/gobwas/ws"},
	"/sockeyetest":           {"", "/internal/seam", "/internal/arguments", "/netpoll/netpolltest", "/proto/eio", "/proto/sio", "github.com/gobwas/ws"},
	"/internal/arguments":    {"/proto/sio"},
	"/internal/msgpack":      {"/proto/sio"},
	"":                       {"/broadcast", "/engine", "/internal/arguments", "/internal/goroutine", "/internal/lend", "/internal/fifo", "/internal/presence", "/internal/ratelog", "/internal/seam", "/internal/tally", "/proto/sio", "/proto/ws", "/netpoll", "github.com/valyala/bytebufferpool"},
}

func TestLayering(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath, module)
		may, held := allowed[name]
		if !held {
			for _, upper := range []string{"/cmd/", "/examples/", "/bench", "/fuzz", "/interop", "/internal/"} {
				held = held || strings.HasPrefix(name, upper)
			}
			if !held {
				t.Errorf("%s has no place in the layering: give it one here", p.ImportPath)
			}
			continue
		}
		seen++
		for _, i := range p.Imports {
			if !strings.Contains(strings.SplitN(i, "/", 2)[0], ".") {
				continue // the standard library
			}
			if !slices.Contains(may, strings.TrimPrefix(i, module)) {
				t.Errorf("%s must not import %s", p.ImportPath, i)
			}
		}
	}
	if seen != len(allowed) {
		t.Errorf("%d of %d packages were found", seen, len(allowed))
	}
}
