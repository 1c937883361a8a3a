package sockeye_test

import (
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// TestAnswersThatNobodyWaitsFor are ignored, if they are answers.
func TestAnswersThatNobodyWaitsFor(t *testing.T) {
	answers := make(chan error, 1)
	addr, _ := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		srv.On("ask", func(s *sockeye.Socket) error {
			return s.EmitWithAck(func(_ sockeye.Args, err error) { answers <- err }, "question")
		})
		srv.On("echo", func(n int) int { return n })
	})
	w := wiretest.Connect(t, addr)
	w.Write(`42["ask"]`)
	question := w.Expect(`42*`)
	w.Write(`43["x"]`) // without an id it answers nothing
	w.Write(`43999["x"]`)
	w.Write("43" + ackID(t, question) + `[]`)
	if err := within(t, answers); err != nil {
		t.Error(err)
	}
	w.Write(`420["echo",1]`)
	w.Expect(`430[1]`)
	w.Write(`43999{}`)
	if _, _, err := w.Read(); err == nil {
		t.Error("an answer that is no array is taken")
	}
}

// TestReservedNameInABinaryEvent ends the session before the attachments come.
func TestReservedNameInABinaryEvent(t *testing.T) {
	addr, _ := serve(t, sockeye.Config{}, nil)
	w := wiretest.Connect(t, addr)
	w.Write(`451-["connect",{"_placeholder":true,"num":0}]`)
	if _, _, err := w.Read(); err == nil {
		t.Error("the session lives")
	}
}
