package sockeye_test

import (
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast/adaptertest"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// hexParser writes texts in another form.
type hexParser struct{ sockeye.Parser }

func (hexParser) Binary() bool { return true }

func (hexParser) Append(dst []byte, _ sockeye.Packet, data any) ([]byte, error) {
	return hex.AppendEncode(dst, fmt.Append(nil, data)), nil
}

// TestRecoveryParserHidesTexts: where an offset cannot be put in, that is told, and events go
// out all the same.
func TestRecoveryParserHidesTexts(t *testing.T) {
	for name, adapter := range map[string]sockeye.Adapter{"alone": nil, "cluster": new(adaptertest.Hub).KeepingAdapter(t, cluster.Options{})} {
		t.Run(name, func(t *testing.T) {
			var out wiretest.Output
			_, srv := serve(t, sockeye.Config{
				Parser: hexParser{}, Adapter: adapter, Recovery: &sockeye.Recovery{}, Logger: slog.New(slog.NewTextHandler(&out, nil)),
			}, nil)
			if err := srv.Emit("x"); err != nil {
				t.Error(err)
			}
			eventually(t, func() bool { return strings.Contains(out.String(), "Config.Parser writes texts in another form") })
		})
	}
}
