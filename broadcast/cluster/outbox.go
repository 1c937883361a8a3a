package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/internal/fifo"
)

const (
	batchFrames = 256
	batchBytes  = 1 << 20
	minBackoff  = 100 * time.Millisecond
	maxBackoff  = 3 * time.Second
)

// outbox holds what waits for the bus. One goroutine sends it while there is something,
// or while the bus cannot be reached.
type outbox struct {
	// Immutable after init.
	bus  Bus
	o    *Options
	back func() // called by a goroutine of its own when the bus can be reached again

	// Guarded by mu.
	mu      sync.Mutex
	turn    sync.Cond // broadcast when the goroutine ends
	frames  fifo.Queue[Frame]
	bytes   int // of frames, and of those that are being sent
	running bool
	down    bool
	since   time.Time // when it went down
	missed  uint64    // lost and refused since then
	closing bool
	wake    chan struct{} // closed by close
	s       broadcast.AdapterStats
}

func (b *outbox) init(bus Bus, o *Options, back func()) {
	b.bus, b.o, b.back = bus, o, back
	b.turn.L = &b.mu
	b.wake = make(chan struct{})
}

// push queues a frame.
func (b *outbox) push(f Frame) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	size := f.size()
	switch {
	case b.closing:
		return broadcast.ErrClosed
	case size > b.o.MaxQueued:
		return fmt.Errorf("%w: a message of %d bytes is more than MaxQueued", broadcast.ErrUnavailable, size)
	case b.down && !b.o.QueueWhileDown, b.bytes+size > b.o.MaxQueued:
		b.missed++
		return broadcast.ErrUnavailable
	}
	b.frames.Push(f)
	b.bytes += size
	if !b.running {
		b.running = true
		go b.run()
	}
	return nil
}

// reject counts n frames as lost that have been taken as sent.
func (b *outbox) reject(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.s.Lost += uint64(n)
}

func (b *outbox) stats() broadcast.AdapterStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.s
	s.Queued, s.Down = b.bytes, b.down
	return s
}

// run is the sending goroutine.
func (b *outbox) run() {
	b.mu.Lock()
	defer b.mu.Unlock()
	backoff := minBackoff
	for b.frames.Len() > 0 || b.down && !b.closing {
		if b.down && !b.ping() {
			b.sleep(backoff/2 + rand.N(backoff/2+1))
			backoff = min(2*backoff, maxBackoff)
			if b.closing {
				break
			}
			continue
		}
		backoff = minBackoff
		b.sendSome()
	}
	b.drop(b.frames.Len())
	b.frames.Clear(0)
	b.running = false
	b.turn.Broadcast()
}

// sendSome sends the next frames. mu is held, but for the sending.
func (b *outbox) sendSome() {
	batch := b.frames.All() // others add to what is behind it, meanwhile
	n, size := 0, 0
	for n < len(batch) && n < batchFrames && size < batchBytes {
		size += batch[n].size()
		n++
	}
	if n == 0 {
		return
	}
	batch = batch[:n:n]
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), b.o.SendTimeout)
	sent, lost, err := b.bus.Send(ctx, batch)
	cancel()
	b.mu.Lock()
	for range sent {
		f := b.frames.Pop()
		b.bytes -= f.size()
		b.s.Sent++
		b.s.SentBytes += uint64(len(f.Data))
	}
	b.drop(lost)
	if err != nil {
		b.fail(err)
	}
}

// drop gives up the next n frames. mu is held.
func (b *outbox) drop(n int) {
	for range n {
		f := b.frames.Pop()
		b.bytes -= f.size()
	}
	b.s.Lost += uint64(n)
	b.missed += uint64(n)
}

// fail notes that the bus cannot be reached. mu is held, but for the logging.
func (b *outbox) fail(err error) {
	if !b.o.QueueWhileDown {
		b.drop(b.frames.Len())
	}
	if b.down {
		return
	}
	b.down, b.since = true, time.Now()
	if b.closing {
		return // nobody waits for it any more
	}
	queued := b.frames.Len()
	b.mu.Unlock() // the logger is anybody's
	b.o.Logger.Error("cluster: the bus cannot be reached; this server's own sockets are served", "error", err, "queued", queued)
	b.mu.Lock()
}

// ping tells whether the bus is back. mu is held, but for the asking.
func (b *outbox) ping() bool {
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), min(b.o.SendTimeout, 2*time.Second))
	err := b.bus.Ping(ctx)
	cancel()
	b.mu.Lock()
	if err != nil {
		return false
	}
	b.down = false
	lost, queued := b.missed, b.frames.Len()
	b.missed = 0
	go b.back()
	b.mu.Unlock()
	b.o.Logger.Info("cluster: the bus can be reached again", "away", time.Since(b.since).Round(time.Millisecond), "lost", lost, "queued", queued)
	b.mu.Lock()
	return true
}

// sleep lets time pass, or close come. mu is held, but for the waiting.
func (b *outbox) sleep(d time.Duration) {
	b.mu.Unlock()
	select {
	case <-time.After(d):
	case <-b.wake:
	}
	b.mu.Lock()
}

// close refuses what is new, and waits until what is queued has been sent, or ctx is done.
func (b *outbox) close(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closing {
		b.closing = true
		close(b.wake)
	}
	defer context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.turn.Broadcast()
	})()
	for b.running && ctx.Err() == nil {
		b.turn.Wait()
	}
	if b.running {
		return ctx.Err()
	}
	return nil
}
