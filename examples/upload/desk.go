package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye"
)

// What people may do is bounded.
const (
	maxSize    = 256 << 20 // of a file
	maxAll     = 4 << 30   // of all files, with those that are on their way
	maxUploads = 100       // under way
	patience   = time.Minute
)

// desk takes uploads.
type desk struct {
	dir string

	mu      sync.Mutex
	uploads map[string]*upload // by the ID that the page has made
	open    int                // of them that are on their way
	all     int64              // bytes of all files, when they are whole
}

// upload is a file that is on its way, or has just come: who has not got the last answer
// asks again.
type upload struct {
	// Immutable.
	file *os.File
	size int64

	// Guarded by mu, inside which the desk's is taken.
	mu     sync.Mutex
	have   int64
	sum    hash.Hash
	sha256 string      // when it is whole
	ends   *time.Timer // gives it up if nothing more comes
	over   bool        // it was given up
}

func (u *upload) progress() progress { return progress{u.have, u.sha256} }

// progress is how much of a file is there, and, if that is all, its SHA-256.
type progress struct {
	Have   int64  `json:"have"`
	SHA256 string `json:"sha256,omitempty"`
}

func newDesk(dir string) *desk { return &desk{dir: dir, uploads: map[string]*upload{}} }

func (d *desk) register(srv *sockeye.Server) {
	srv.On("begin", d.begin)
	srv.On("piece", d.piece)
}

func refuse(format string, args ...any) error {
	return &sockeye.AckError{Message: fmt.Sprintf(format, args...)}
}

// An ID names the file here: nothing of what peers send becomes a path without it.
var goodID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// begin opens an upload, or finds the one that was cut.
func (d *desk) begin(id string, size int64) (progress, error) {
	u, err := d.find(id, size)
	if err != nil {
		return progress{}, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.progress(), nil
}

func (d *desk) find(id string, size int64) (*upload, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.uploads[id]
	switch {
	case u != nil && u.size == size:
		return u, nil
	case u != nil || !goodID.MatchString(id):
		return nil, refuse("this is no ID of an upload")
	case size <= 0 || size > maxSize:
		return nil, refuse("files may have up to %d MB", maxSize>>20)
	case d.open >= maxUploads || len(d.uploads) >= 10*maxUploads:
		return nil, refuse("too many files are on their way; try again later")
	case size > maxAll-d.all:
		return nil, refuse("there is no room for more files")
	}
	file, err := os.OpenFile(filepath.Join(d.dir, id), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err // the server's own: it is logged, and peers get "internal error"
	}
	u = &upload{file: file, size: size, sum: sha256.New()}
	u.ends = time.AfterFunc(patience, func() { d.give(id, u) })
	d.uploads[id] = u
	d.open++
	d.all += size
	return u, nil
}

// piece adds to an upload. A piece that comes again, because its answer was lost, is
// answered and not added.
func (d *desk) piece(id string, at int64, data []byte) (progress, error) {
	d.mu.Lock()
	u := d.uploads[id]
	d.mu.Unlock()
	if u == nil {
		return progress{}, refuse("there is no such upload, or no longer")
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.over:
		return progress{}, refuse("there is no such upload, or no longer")
	case u.sha256 != "" || at != u.have || int64(len(data)) > u.size-u.have:
		return u.progress(), nil
	}
	if _, err := u.file.WriteAt(data, u.have); err != nil { // the same place if it comes again
		return progress{}, err
	}
	u.sum.Write(data)
	u.have += int64(len(data))
	u.ends.Reset(patience)
	if u.have < u.size {
		return u.progress(), nil
	}
	u.sha256 = hex.EncodeToString(u.sum.Sum(nil))
	d.mu.Lock()
	d.open--
	d.mu.Unlock()
	return u.progress(), u.file.Close()
}

// give gives an upload up, or forgets one that is whole.
func (d *desk) give(id string, u *upload) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.over {
		return
	}
	u.over = true
	d.mu.Lock()
	delete(d.uploads, id)
	if u.sha256 == "" {
		d.open--
		d.all -= u.size
	}
	d.mu.Unlock()
	if u.sha256 == "" {
		_ = u.file.Close()
		_ = os.Remove(u.file.Name())
	}
}
