package sockeye_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
	"github.com/sockeye-io/sockeye/proto/sio"
)

// fragile is a Parser that some messages make panic.
type fragile struct{}

func (fragile) Binary() bool { return false }

func (fragile) Append(dst []byte, p sockeye.Packet, data any) ([]byte, error) {
	dst = sio.AppendHeader(dst, p)
	if data == nil {
		return dst, nil
	}
	b, err := json.Marshal(data)
	return append(dst, b...), err
}

func (fragile) Consume(message []byte) (sockeye.Packet, error) {
	return sio.Limits{}.ConsumePacket(message)
}

func (fragile) Split(data []byte, dst [][]byte) ([][]byte, error) {
	if bytes.Contains(data, []byte("split")) {
		panic("out of range")
	}
	return sio.SplitArray(data, dst, 0)
}

func (fragile) EventName(element []byte) ([]byte, error) {
	if bytes.Contains(element, []byte("name")) {
		panic("out of range")
	}
	return sio.EventName(element)
}

func (fragile) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// TestParserPanics: a peer that makes Config.Parser panic ends its own session.
func TestParserPanics(t *testing.T) {
	addr, _ := serve(t, sockeye.Config{Parser: fragile{}}, func(srv *sockeye.Server) {
		srv.On("echo", func(n int) int { return n })
		srv.On("ask", func(s *sockeye.Socket) error {
			return s.EmitWithAck(func(sockeye.Args, error) {}, "question")
		})
	})
	other := wiretest.Connect(t, addr)
	for _, message := range []string{`42["split"]`, `42["name"]`} {
		w := wiretest.Connect(t, addr)
		w.Write(message)
		w.ExpectClosed()
	}
	w := wiretest.Connect(t, addr)
	w.Write(`42["ask"]`)
	w.Write(`43` + ackID(t, w.Expect(`42*`)) + `["split"]`)
	w.ExpectClosed()
	other.Write(`421["echo",7]`)
	other.Expect(`431[7]`)
}
