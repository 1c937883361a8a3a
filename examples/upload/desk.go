package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye"
)

// What people may do is bounded.
const (
	maxSize    = 256 << 20 // of a file
	maxAll     = 4 << 30   // of all files, with those that are on their way
	blockSize  = 4 << 10   // which a file takes at least
	maxUploads = 100       // under way
	patience   = time.Minute

	// Of one address: nobody can take all places.
	maxOwn      = 10        // uploads under way
	maxOwnBytes = 512 << 20 // of their files
	maxOwnWhole = 100       // that are whole, and asked for again
)

// desk takes uploads.
type desk struct {
	dir string

	mu      sync.Mutex
	uploads map[string]*upload // by the ID that the page has made
	shares  map[string]*share  // by address
	open    int                // of them that are on their way
	all     int64              // bytes of all files, when they are whole
}

// share is what an address has of the desk. It goes when it is empty.
type share struct {
	open  int
	bytes int64    // of the files that are on their way
	whole []string // IDs, the oldest first
}

// upload is a file that is on its way, or has just come: who has not got the last answer
// asks again.
type upload struct {
	// Immutable.
	file    *os.File
	size    int64
	address string

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

func newDesk(dir string) *desk {
	return &desk{dir: dir, uploads: map[string]*upload{}, shares: map[string]*share{}}
}

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
func (d *desk) begin(s *sockeye.Socket, id string, size int64) (progress, error) {
	u, err := d.find(whose(s), id, size)
	if err != nil {
		return progress{}, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.progress(), nil
}

// whose is the address that a socket counts for: of IPv6 the network, which is one house's.
// Behind a proxy that is not in Config.TrustedProxies everybody has one.
func whose(s *sockeye.Socket) string {
	address := s.Handshake().Address
	if ip, err := netip.ParseAddr(address); err == nil && ip.Unmap().Is6() {
		if house, err := ip.WithZone("").Prefix(64); err == nil {
			return house.String()
		}
	}
	return address
}

func (d *desk) find(address, id string, size int64) (*upload, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	own := d.shares[address]
	if own == nil {
		own = &share{}
	}
	u := d.uploads[id]
	switch {
	case u != nil && u.size == size:
		return u, nil
	case u != nil || !goodID.MatchString(id):
		return nil, refuse("this is no ID of an upload")
	case size <= 0 || size > maxSize:
		return nil, refuse("files may have up to %d MB", maxSize>>20)
	case own.open >= maxOwn || size > maxOwnBytes-own.bytes:
		return nil, refuse("too many of your files are on their way; try again in a minute")
	case d.open >= maxUploads || len(d.uploads) >= 10*maxUploads:
		return nil, refuse("too many files are on their way; try again later")
	case taken(size) > maxAll-d.all:
		return nil, refuse("there is no room for more files")
	}
	file, err := os.OpenFile(filepath.Join(d.dir, id), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err // the server's own: it is logged, and peers get "internal error"
	}
	u = &upload{file: file, size: size, address: address, sum: sha256.New()}
	u.ends = time.AfterFunc(patience, func() { d.give(id, u) })
	d.uploads[id] = u
	d.shares[address] = own
	own.open++
	own.bytes += size
	d.open++
	d.all += taken(size)
	return u, nil
}

func taken(size int64) int64 { return max(size, blockSize) }

// closed is told of an upload that is on its way no more. mu is held.
func (d *desk) closed(u *upload) *share {
	own := d.shares[u.address]
	own.open--
	own.bytes -= u.size
	d.open--
	return own
}

// whole is told of an upload that is.
func (d *desk) whole(id string, u *upload) {
	d.mu.Lock()
	defer d.mu.Unlock()
	own := d.closed(u)
	if own.whole = append(own.whole, id); len(own.whole) > maxOwnWhole {
		d.uploads[own.whole[0]].ends.Stop()
		delete(d.uploads, own.whole[0])
		own.whole = own.whole[1:]
	}
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
	d.whole(id, u)
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
	own := d.shares[u.address]
	if u.sha256 == "" {
		own = d.closed(u)
		d.all -= taken(u.size)
	} else if own != nil {
		own.whole = slices.DeleteFunc(own.whole, func(x string) bool { return x == id })
	}
	if own != nil && own.open+len(own.whole) == 0 {
		delete(d.shares, u.address)
	}
	d.mu.Unlock()
	if u.sha256 == "" {
		_ = u.file.Close()
		_ = os.Remove(u.file.Name())
	}
}
