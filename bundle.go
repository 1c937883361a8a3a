package sockeye

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
)

// bundleNames are the files that the reference server serves beside its path.
var bundleNames = []string{
	"socket.io.js", "socket.io.min.js", "socket.io.msgpack.min.js", "socket.io.esm.min.js",
	"socket.io.js.map", "socket.io.min.js.map", "socket.io.msgpack.min.js.map", "socket.io.esm.min.js.map",
}

// bundle serves the browser client's files from Config.Client. They are read
// once, when the server is made.
type bundle struct {
	files map[string]*bundleFile // by path
	next  http.Handler           // for other paths; may be nil

	// Immutable once the server listens.
	cors func(h http.Header, r *http.Request) // lets pages import the files that may connect
}

type bundleFile struct {
	content, gzipped []byte
	etag             string
}

// newBundle reads those of the files that there are.
func newBundle(files fs.FS, prefix string, next http.Handler, log *slog.Logger) *bundle {
	b := &bundle{files: map[string]*bundleFile{}, next: next}
	for _, name := range bundleNames {
		content, err := fs.ReadFile(files, name)
		if err != nil {
			continue
		}
		sum := sha256.Sum256(content)
		var z strings.Builder
		w := gzip.NewWriter(&z)
		_, _ = w.Write(content) // a strings.Builder takes everything
		_ = w.Close()
		b.files[path.Join(prefix, name)] = &bundleFile{content, []byte(z.String()), `"` + hex.EncodeToString(sum[:8]) + `"`}
	}
	if len(b.files) == 0 {
		log.Warn("sockeye: Config.Client has none of the client's files at its root", "want", bundleNames[0])
	}
	return b
}

// paths are those that the bundle serves.
func (b *bundle) paths() []string {
	return slices.Collect(maps.Keys(b.files))
}

func (b *bundle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := b.files[r.URL.Path]
	if f == nil {
		if b.next == nil {
			http.NotFound(w, r)
		} else {
			b.next.ServeHTTP(w, r)
		}
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "public, max-age=0")
	h.Set("ETag", f.etag)
	h.Set("Vary", "Accept-Encoding")
	b.cors(h, r)
	h.Set("Content-Type", "application/javascript; charset=utf-8")
	if strings.HasSuffix(r.URL.Path, ".map") {
		h.Set("Content-Type", "application/json; charset=utf-8")
	}
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "use GET", http.StatusMethodNotAllowed)
	case strings.Contains(r.Header.Get("If-None-Match"), f.etag):
		w.WriteHeader(http.StatusNotModified)
	case strings.Contains(r.Header.Get("Accept-Encoding"), "gzip"):
		h.Set("Content-Encoding", "gzip")
		_, _ = w.Write(f.gzipped)
	default:
		_, _ = w.Write(f.content)
	}
}
