package sim

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/internal/seam"
)

// plan is what a seed makes of the configuration.
type plan struct {
	loops, workers, descriptors int
	inline                      bool
	recovery                    *sockeye.Recovery
	ackTimeout, emitTimeout     time.Duration
	retry                       time.Duration // when clients come back
	large                       int           // bytes of a large argument
	tight                       bool          // memory is so short that anybody may be ended for it
	maxMemory                   int64
	clients, actors, steps      int
	early                       bool // the server is closed while all is under way
	crowd                       int  // clients that only listen: fan-outs take several turns
	decides                     bool // AllowRequest takes its time
}

func newPlan(rng *rand.Rand) plan {
	p := plan{
		loops: 1 + rng.IntN(2), workers: 1000, descriptors: 1000, inline: rng.IntN(5) == 0,
		ackTimeout:  time.Second + time.Duration(rng.Int64N(int64(4*time.Second))),
		emitTimeout: time.Second + time.Duration(rng.Int64N(int64(4*time.Second))),
		retry:       100 * time.Millisecond, large: 1 + rng.IntN(6000), maxMemory: 64 << 20,
		clients: 2 + rng.IntN(5), actors: rng.IntN(3), steps: 300 + rng.IntN(700), early: rng.IntN(6) == 0,
	}
	if rng.IntN(40) == 0 {
		p.crowd = 70 + rng.IntN(20)
	}
	p.decides = rng.IntN(6) == 0
	if rng.IntN(3) == 0 {
		p.recovery = &sockeye.Recovery{MaxDisconnection: 20 * time.Second, AskMiddlewares: rng.IntN(2) == 0}
	}
	if rng.IntN(4) == 0 {
		p.workers = 1 + rng.IntN(4)
	}
	if rng.IntN(5) == 0 && p.crowd == 0 {
		p.descriptors = 1 + rng.IntN(6)
	}
	if rng.IntN(8) == 0 && p.crowd == 0 {
		p.tight, p.maxMemory = true, 40_000+rng.Int64N(100_000)
	}
	return p
}

func (p *plan) config(w *world) sockeye.Config {
	rng := w.rng
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	cfg := sockeye.Config{
		PingInterval: 2*time.Second + time.Duration(rng.Int64N(int64(2*time.Second))), PingTimeout: 2 * time.Second,
		UpgradeTimeout: 3 * time.Second, PollCloseTimeout: 3 * time.Second,
		MaxMemory: p.maxMemory, CloseTimeout: time.Second, IdleTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, HeadTimeout: 5 * time.Second, BodyTimeout: 5 * time.Second,
		ConnectTimeout: 5 * time.Second, AckTimeout: p.ackTimeout, EmitTimeout: p.emitTimeout, AttachmentTimeout: 3 * time.Second,
		Seams: &seam.Seams{Systems: w.kernel.systems(), Pool: w.schedule}, Inline: p.inline, Recovery: p.recovery, Codec: codec{w}, Logger: quiet,
		CleanupEmptyChildNamespaces: rng.IntN(2) == 0,
	}
	if p.decides {
		cfg.AllowRequest = func(r *engine.Request) error {
			_, port, _ := strings.Cut(r.RemoteAddr(), ":")
			number, _ := strconv.Atoi(port)
			defer w.schedule.adopt(-number)()
			w.schedule.yield()
			w.schedule.maybe()
			if number%16 == 0 {
				return errors.New("refused, for now")
			}
			return nil
		}
	}
	if p.tight {
		cfg.MaxPayload = 12_000
	}
	if rng.IntN(3) == 0 {
		cfg.MailboxEvents, cfg.MailboxBytes = 2+rng.IntN(6), 1000+rng.IntN(4000)
	}
	if rng.IntN(3) == 0 {
		cfg.MaxQueuedBytes = 8_000 + rng.IntN(30_000)
	}
	if rng.IntN(3) == 0 {
		cfg.MaxPostedJobs, cfg.MaxPostedBytes = 2+rng.IntN(10), 1000+rng.IntN(10_000)
	}
	if rng.IntN(4) == 0 {
		cfg.MaxPendingAcks = 1 + rng.IntN(3)
	}
	w.cleanup = cfg.CleanupEmptyChildNamespaces
	if Secure {
		w.secure(&cfg)
	}
	if p.early {
		cfg.GenerateID = w.newSID
	}
	return cfg
}

// newSID makes IDs of which no two are in the same part of the table of sessions:
// within one, those that Close ends are in the order of a random seed.
func (w *world) newSID(*engine.Request) string {
	w.sids++
	return fmt.Sprintf("sid%d-%c", w.sids, '0'+byte(w.sids%64))
}
