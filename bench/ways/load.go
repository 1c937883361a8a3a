package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// figures are what is measured of a server: CPU time is its own, user and system.
type figures struct {
	Bytes   float64 `json:"bytes"`   // growth of its proportional set size by an idle connection
	Connect float64 `json:"connect"` // us: TCP, TLS, WebSocket, and Socket.IO where it is spoken
	One     float64 `json:"one"`     // us a delivery, one broadcast under way
	Four    float64 `json:"four"`    // us a delivery, four under way
	Accept  float64 `json:"accept"`  // us: TCP, TLS, a request that is answered 404, the end
}

// together is how many connections are being made at a time.
const together = 32

// load is the clients of one server.
type load struct {
	way
	addr   string
	pid    int
	in     io.Writer
	out    *bufio.Reader
	cfg    *tls.Config
	got    atomic.Int64 // messages
	size   int64        // of the crowd
	sent   chan struct{}
	settle time.Duration
	ended  atomic.Pointer[error] // why a connection has ended by itself
}

// measure starts a server and puts it under load.
func measure(ctx context.Context, name string, s settings) (r figures, err error) {
	w, err := find(name)
	if err != nil {
		return r, err
	}
	cmd := pinned(ctx, s.serverCore, "-serve", name)
	in, err := cmd.StdinPipe()
	if err != nil {
		return r, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return r, err
	}
	if err := cmd.Start(); err != nil {
		return r, err
	}
	defer func() {
		_ = in.Close() // it ends then
		_ = cmd.Wait()
	}()
	l := &load{way: w, pid: cmd.Process.Pid, in: in, out: bufio.NewReader(out), sent: make(chan struct{}, 16), settle: s.settle}
	addr, err := l.out.ReadString('\n')
	if err != nil {
		return r, err
	}
	l.addr = strings.TrimSpace(addr)
	if w.secure {
		l.cfg = &tls.Config{InsecureSkipVerify: true, MaxVersion: w.version}
	}
	warm, err := l.dialAll(min(200, s.idle))
	hangUp(warm)
	if err != nil {
		return r, err
	}
	if err := l.trim(); err != nil {
		return r, err
	}

	memory, cpu := l.memory(), l.cpu()
	conns, err := l.dialAll(s.idle)
	defer func() { hangUp(conns) }()
	if err != nil {
		return r, err
	}
	r.Connect = (l.cpu() - cpu) * 1e6 / float64(s.idle)
	if err := l.trim(); err != nil {
		return r, err
	}
	r.Bytes = (l.memory() - memory) / float64(s.idle)

	hangUp(conns[s.crowd:])
	conns = conns[:s.crowd]
	if err := l.trim(); err != nil {
		return r, err
	}
	l.size = int64(s.crowd)
	for _, c := range []struct {
		window int
		figure *float64
	}{{1, &r.One}, {4, &r.Four}} {
		if *c.figure, err = l.broadcast(ctx, conns[0], c.window, s.payload, s.dur); err != nil {
			return r, err
		}
	}
	r.Accept, err = l.accept(s.dur)
	return r, err
}

// trim has the server give back memory, twice, since what ends by a finalizer is garbage
// only then.
func (l *load) trim() error {
	for range 2 {
		time.Sleep(l.settle)
		if _, err := fmt.Fprintln(l.in); err != nil {
			return err
		}
		if _, err := l.out.ReadString('\n'); err != nil {
			return err
		}
	}
	return nil
}

// conn is one client.
type conn struct {
	net.Conn
	mu   sync.Mutex  // held while a frame is written
	over atomic.Bool // it has been closed here
}

func (l *load) dial() (net.Conn, error) {
	c, err := net.Dial("tcp4", l.addr)
	if err == nil && l.secure {
		t := tls.Client(c, l.cfg)
		if err = t.Handshake(); err != nil {
			c.Close()
		}
		return t, err
	}
	return c, err
}

// dialAll connects n clients, together of them at a time.
func (l *load) dialAll(n int) (conns []*conn, err error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var next atomic.Int64
	for range together {
		wg.Go(func() {
			for next.Add(1) <= int64(n) {
				c, e := l.open()
				mu.Lock()
				if e != nil {
					err = e
				} else {
					conns = append(conns, c)
				}
				mu.Unlock()
				if e != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return conns, err
}

func hangUp(conns []*conn) {
	for _, c := range conns {
		c.over.Store(true)
		_ = c.Close()
	}
}

// open opens a WebSocket, and joins the namespace if there is one.
func (l *load) open() (*conn, error) {
	raw, err := l.dial()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw}
	br := bufio.NewReaderSize(raw, 512)
	_, err = fmt.Fprintf(raw, "GET %s?EIO=4&transport=websocket HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path, l.addr)
	if err == nil {
		var resp *http.Response
		if resp, err = http.ReadResponse(br, nil); err == nil && resp.StatusCode != 101 {
			err = errors.New(resp.Status)
		}
	}
	if err == nil && !l.raw {
		if _, err = readFrame(br); err == nil {
			if err = c.write([]byte("40")); err == nil {
				_, err = readFrame(br)
			}
		}
	}
	if err != nil {
		raw.Close()
		return nil, err
	}
	go l.read(c, br)
	return c, nil
}

// read counts what comes.
func (l *load) read(c *conn, br *bufio.Reader) {
	for {
		size, err := readFrame(br)
		if err != nil {
			if !c.over.Load() {
				l.ended.Store(&err)
			}
			return
		}
		if size == 1 { // a ping
			_ = c.write([]byte("3"))
			continue
		}
		if l.got.Add(1)%l.size == 0 {
			l.sent <- struct{}{}
		}
	}
}

// readFrame skips a frame, and returns the size of its payload.
func readFrame(br *bufio.Reader) (size int, err error) {
	h, err := br.Peek(2)
	if err != nil {
		return 0, err
	}
	size, head := int(h[1]), 2
	if size == 126 {
		if h, err = br.Peek(4); err != nil {
			return 0, err
		}
		size, head = int(binary.BigEndian.Uint16(h[2:])), 4
	}
	if h[0] != 0x81 || h[1] > 126 {
		return 0, fmt.Errorf("an unexpected frame: % x", h)
	}
	_, err = br.Discard(head + size)
	return size, err
}

// write writes a text frame, whose mask is zero: legal, and free.
func (c *conn) write(text []byte) error {
	b := []byte{0x81, 0x80 | byte(len(text))}
	if len(text) >= 126 {
		b = []byte{0x81, 0x80 | 126, byte(len(text) >> 8), byte(len(text))}
	}
	b = append(append(b, 0, 0, 0, 0), text...)
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.Write(b)
	return err
}

// broadcast has so many broadcasts under way all the time, and returns the server's CPU
// time for each message that came.
func (l *load) broadcast(ctx context.Context, from *conn, window, payload int, dur time.Duration) (float64, error) {
	message := fmt.Appendf(nil, `42["m","%s"]`, bytes.Repeat([]byte("x"), payload))
	for range window {
		if err := from.write(message); err != nil {
			return 0, err
		}
	}
	var cpu float64
	var got int64
	measuring, done := time.After(dur/4), (<-chan time.Time)(nil)
	stalled := time.NewTimer(10 * time.Second)
	for under := window; ; {
		select {
		case <-l.sent:
			stalled.Reset(10 * time.Second)
			if done != nil || measuring != nil {
				if err := from.write(message); err != nil {
					return 0, err
				}
			} else if under--; under == 0 {
				return cpu, nil
			}
		case <-measuring:
			measuring, done = nil, time.After(dur)
			cpu, got = l.cpu(), l.got.Load()
		case <-done:
			n := l.got.Load() - got
			if n == 0 { // the machine had no time for it
				done = time.After(dur)
				continue
			}
			done = nil
			cpu = (l.cpu() - cpu) * 1e6 / float64(n)
		case <-stalled.C:
			why := errors.New("no connection has ended")
			if err := l.ended.Load(); err != nil {
				why = *err
			}
			return 0, fmt.Errorf("messages are missing: %w", why)
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// accept connects, has a request answered that nobody has a handler for, and lets go, and
// returns the server's CPU time for each.
func (l *load) accept(dur time.Duration) (float64, error) {
	var wg sync.WaitGroup
	var n atomic.Int64
	var failed atomic.Pointer[error]
	cpu, end := l.cpu(), time.Now().Add(dur)
	for range together {
		wg.Go(func() {
			for more := true; more; more = time.Now().Before(end) {
				if err := l.once(); err != nil {
					failed.Store(&err)
					return
				}
				n.Add(1)
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return (l.cpu() - cpu) * 1e6 / float64(n.Load()), nil
}

func (l *load) once() error {
	c, err := l.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err = io.WriteString(c, "GET /nothing HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(c, 512), nil)
	if err == nil && resp.StatusCode != 404 {
		err = errors.New(resp.Status)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
	}
	return err
}

// cpu is the server's CPU time, in seconds. Linux counts it in 1/100 s for programs to read.
func (l *load) cpu() float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", l.pid))
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(string(f[11]), 64)
	system, _ := strconv.ParseFloat(string(f[12]), 64)
	return (user + system) / 100
}

// memory is the server's proportional set size, in bytes.
func (l *load) memory() float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", l.pid))
	for line := range bytes.Lines(b) {
		if f := bytes.Fields(line); len(f) > 1 && string(f[0]) == "Pss:" {
			kB, _ := strconv.ParseFloat(string(f[1]), 64)
			return kB * 1024
		}
	}
	return 0
}
