package sockeye_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	sockeye "github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

func TestParentNamespaces(t *testing.T) {
	var seen notes
	addr, srv := serve(t, sockeye.Config{CleanupEmptyChildNamespaces: true, MaxDynamicNamespaces: 3}, func(srv *sockeye.Server) {
		srv.OnNamespace(func(ns *sockeye.Namespace) { seen.add("new %s", ns.Name()) })
		rooms := srv.OfPattern(regexp.MustCompile(`/room-\d+`))
		rooms.On("who", func(s *sockeye.Socket) string { return s.Namespace().Name() })
		srv.OfFunc(func(name string, auth json.RawMessage) bool { return strings.Contains(string(auth), name[1:]) })
	})
	parent := srv.OfPattern(regexp.MustCompile(`/x/.*`))
	a, b := wiretest.Connect(t, addr), wiretest.Connect(t, addr)
	a.Write(`40/room-1,`)
	a.Expect(`40/room-1,{*`)
	a.Write(`42/room-1,0["who"]`)
	a.Expect(`43/room-1,0["/room-1"]`)
	a.Write(`40/xroom-12,`)
	a.Expect(`44/xroom-12,{"message":"Invalid namespace"}`)
	a.Write(`40/key,{"token":"key"}`)
	a.Expect(`40/key,{*`)
	a.Write(`40/key2,{"token":"other"}`)
	a.Expect(`44/key2,{"message":"Invalid namespace"}`)
	b.Write(`40/x/1,`)
	b.Expect(`40/x/1,{*`)
	seen.expect(t, "new /room-1", "new /key", "new /x/1")
	b.Write(`40/room-2,`) // over the bound
	b.Expect(`44/room-2,{"message":"Invalid namespace"}`)
	_ = parent.Emit("to children", 1)
	b.Expect(`42/x/1,["to children",1]`)
	if got := len(parent.Children()); got != 1 {
		t.Errorf("%d children", got)
	}
	child := parent.Children()[0]
	a.Write(`41/room-1,`)
	b.Write(`41/x/1,`)
	eventually(t, func() bool { return len(parent.Children()) == 0 })
	if err := child.Emit("to nobody", 1); err != nil {
		t.Errorf("a broadcast to a child that is no more: %v", err)
	}
	eventually(t, func() bool {
		b.Write(`40/room-3,`)
		return !strings.HasPrefix(b.Expect(`4*`), "44")
	})
	for n := range 4 { // the application is not bounded
		if srv.Of(fmt.Sprint("/x/by-hand-", n)); len(parent.Children()) != n+1 {
			t.Error("Of makes no child")
		}
	}
}
