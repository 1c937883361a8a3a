package sockeye

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/internal/arguments"
	"github.com/sockeye-io/sockeye/internal/seam"
	"github.com/sockeye-io/sockeye/netpoll"
)

// internalFields are the fields of the parts' configurations that no field of Config
// sets, with the reason.
var internalFields = map[string]string{
	"engine.Elsewhere":        "Config.Forward",
	"netpoll.MaxLinks":        "Config.Forward.MaxConns",
	"netpoll.LinkTimeout":     "Config.Forward.ConnectTimeout",
	"engine.IDPrefix":         "it names the server, with an Adapter",
	"engine.Unclaimed":        "what Config.Client serves",
	"netpoll.MaxBodyBytes":    "the largest MaxPayload",
	"netpoll.MaxMessageBytes": "MaxBodyBytes",
	"netpoll.Systems":         "Config.Seams",
}

// filled is a Config of which no field is zero.
func filled(t *testing.T) (c Config) {
	v := reflect.ValueOf(&c).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Interface().(type) {
		case string:
			f.SetString("/path/")
		case bool:
			f.SetBool(true)
		case int, int64, time.Duration:
			f.SetInt(int64(1000 + i)) // each another
		case []netip.Prefix:
			f.Set(reflect.ValueOf([]netip.Prefix{UnixPeers}))
		case []string:
			f.Set(reflect.ValueOf([]string{"websocket"}))
		}
	}
	c.AllowOrigin = func(string, *Request) bool { return true }
	c.AllowRequest = func(*Request) error { return nil }
	c.Middleware = func(next http.Handler) http.Handler { return next }
	c.OnRefused = func(*Request, Refusal) {}
	c.Headers = func(http.Header, *Request, bool) {}
	c.GenerateID = func(*Request) string { return "" }
	c.Cookie, c.Recovery, c.Deflate = &http.Cookie{}, &Recovery{}, &DeflateConfig{}
	c.Codec, c.Parser = arguments.JSON{}, struct{ Parser }{}
	c.TLS = &tls.Config{}
	c.Adapter, c.Forward = struct{ Adapter }{}, &Forward{}
	c.PerAddress = AddressLimits{Conns: 1}
	c.Fallback, c.Client = http.NotFoundHandler(), fstest.MapFS{}
	c.OnContractError = func(*ContractError) {}
	c.ContextValues = []any{"key"}
	c.Engines, c.Logger, c.Seams = []*engine.Engine{nil}, slog.Default(), &seam.Seams{}
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Fatalf("Config.%s is zero: set it here", v.Type().Field(i).Name)
		}
	}
	return c
}

// TestEveryKnobIsInConfig: each field of the parts' configurations is set by one field
// of Config, by that of its name if there is one, or is listed as internal.
func TestEveryKnobIsInConfig(t *testing.T) {
	all := filled(t)
	root := reflect.ValueOf(all)
	used := map[string]bool{}
	for name, part := range map[string]any{"engine": all.engine(), "netpoll": all.net()} {
		v := reflect.ValueOf(part)
		for i := range v.NumField() {
			field := v.Type().Field(i).Name
			key := name + "." + field
			if why := internalFields[key]; why != "" {
				if !v.Field(i).IsZero() {
					t.Errorf("%s is set, and listed as internal: %s", key, why)
				}
				used[key] = true
				continue
			}
			of := field
			if renamed[key] != "" {
				of = renamed[key]
				used[key] = true
			}
			from := root.FieldByName(of)
			switch {
			case !from.IsValid():
				t.Errorf("%s: Config has no field %s: add it, or list %s as internal", key, of, key)
			case v.Field(i).IsZero():
				t.Errorf("%s is not set from Config.%s", key, of)
			case v.Field(i).Comparable() && v.Field(i).Interface() != from.Interface():
				t.Errorf("%s is %v, Config.%s %v", key, v.Field(i), of, from)
			}
		}
	}
	for key := range internalFields {
		if !used[key] {
			t.Errorf("%s is listed as internal, and is no field", key)
		}
	}
	for key := range renamed {
		if !used[key] {
			t.Errorf("%s is renamed, and is no field", key)
		}
	}
}

// TestFaultsNameConfig: a fault names the field as its user has written it, once.
func TestFaultsNameConfig(t *testing.T) {
	_, err := New(Config{PollCloseTimeout: -1, MaxQueuedBytes: -1, MaxHeadBytes: 1, MaxPayload: 2000, MaxMemory: 1000})
	if err == nil {
		t.Fatal("no fault")
	}
	for _, want := range []string{"Config.PollCloseTimeout is", "Config.MaxQueuedBytes is", "Config.MaxHeadBytes is", "Config.MaxPayload is 2000, more than MaxMemory"} {
		if n := strings.Count(err.Error(), want); n != 1 {
			t.Errorf("%q is there %d times:\n%v", want, n, err)
		}
	}
	if strings.Contains(err.Error(), "netpoll:") || strings.Contains(err.Error(), "engine:") {
		t.Errorf("a part is named:\n%v", err)
	}
	if n := len(netpoll.Faults(engine.Config{PingInterval: -1, MaxPayload: -1}.Validate())); n != 2 {
		t.Errorf("%d faults, want 2", n)
	}
}
