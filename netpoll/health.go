package netpoll

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// StuckLoop is a loop that does not turn: something that must not block does, or the
// process gets no processor.
type StuckLoop struct {
	Loop int           // its Index
	For  time.Duration // what it does has taken so long, or its turn has been asked for so long ago

	// In is the function that the loop is in, as far as that is known: the
	// application's, not ours or the runtime's. Stack is the goroutine's stack.
	In, Stack string
}

// String tells which, since when and where.
func (s StuckLoop) String() string {
	in := ""
	if s.In != "" {
		in = ", in " + s.In
	}
	return fmt.Sprintf("loop %d has not turned for %v%s", s.Loop, s.For.Round(time.Millisecond), in)
}

// lookout is what is known of a loop that is stuck: its stack is looked for once.
type lookout struct {
	number atomic.Uint64 // of the goroutine that runs the loop

	// Guarded by mu.
	mu        sync.Mutex
	since     int64 // of the batch that in and stack belong to
	in, stack string
}

// Stuck are the loops that have not turned for so long, though they have something to do:
// what they do has not ended, or their turn was asked for and has not come. It waits
// for no loop. The first time that a loop is found so it is told to the log. Any
// goroutine.
func (g *Group) Stuck(limit time.Duration) (stuck []StuckLoop) {
	for _, l := range g.loops {
		now := int64(l.sys.Now())
		since := l.meter.began.Load()
		if since == 0 {
			since = l.meter.woken.Load()
		}
		d := time.Duration(now - since)
		if since == 0 || d < limit || l.over() {
			continue
		}
		s := StuckLoop{Loop: l.index, For: d}
		var first bool
		if s.In, s.Stack, first = l.lookout.where(since); first {
			g.cfg.Logger.Error("netpoll: a loop does not turn", "loop", l.index, "for", d, "in", s.In, "stack", s.Stack)
		}
		stuck = append(stuck, s)
	}
	return stuck
}

func (l *Loop) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// where finds out where a loop is, once for each time that it is stuck.
func (k *lookout) where(since int64) (in, stack string, first bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if first = k.since != since; first {
		k.since = since
		k.stack = stackOf(k.number.Load())
		k.in = userFunction(k.stack)
	}
	return k.in, k.stack, first
}

// maxStacks bounds, in bytes, the stacks among which the loop's is looked for.
const maxStacks = 16 << 20

// stackOf is the stack of the goroutine with that number, or "". It stops all of them
// for a moment.
func stackOf(number uint64) string {
	head := fmt.Appendf(nil, "goroutine %d [", number)
	for size := 64 << 10; ; size *= 4 {
		all := make([]byte, size)
		n := runtime.Stack(all, true)
		for _, one := range bytes.Split(all[:n], []byte("\n\n")) {
			if bytes.HasPrefix(one, head) {
				return string(one)
			}
		}
		if n < size || size >= maxStacks {
			return ""
		}
	}
}

// below are the packages through which a loop comes to the application's function.
var below = []string{
	"github.com/sockeye-io/sockeye.", "github.com/sockeye-io/sockeye/", "github.com/panjf2000/gnet/",
	"runtime.", "runtime/", "reflect.", "sync.", "sync/", "created by ",
}

// userFunction is the outermost function on a stack that is not below.
func userFunction(stack string) (name string) {
	for line := range strings.Lines(stack) {
		function, _, ok := cutCall(strings.TrimSpace(line))
		if !ok || strings.HasPrefix(line, "\t") || strings.HasPrefix(line, "goroutine ") {
			continue
		}
		ours := false
		for _, p := range below {
			ours = ours || strings.HasPrefix(function, p)
		}
		if !ours {
			name = function // the outermost is the last
		}
	}
	return name
}

// cutCall cuts the arguments off a line of a stack: "main.(*T).f(0x1, ...)".
func cutCall(line string) (function, args string, ok bool) {
	i := strings.LastIndexByte(line, '(')
	if i <= 0 || !strings.HasSuffix(line, ")") {
		return line, "", strings.HasPrefix(line, "created by ")
	}
	return line[:i], line[i:], true
}

// Open is the number of connections at present. Any goroutine.
func (g *Group) Open() int { return int(g.stats.open.Load()) }

// Listening is the number of listeners for peers at present. Any goroutine.
func (g *Group) Listening() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.manual() && !g.closed.Load() {
		return len(g.listeners) + 1 // Adopt is its listener
	}
	n := 0
	for lis := range g.listeners {
		if lis.kind != listensLink {
			n++
		}
	}
	for _, kind := range g.foreign {
		if kind != listensLink {
			n++
		}
	}
	return n
}
