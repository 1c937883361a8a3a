package contract_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/contract"
	"github.com/sockeye-io/sockeye/sockeyetest"
)

// Two colours, and one more.
type (
	colour string
	wider  string
)

const (
	red   colour = "red"
	green colour = "green"

	wideRed   wider = "red"
	wideGreen wider = "green"
	wideBlue  wider = "blue"
)

var _ = []any{red, green, wideRed, wideGreen, wideBlue}

type (
	list0 struct {
		V    int    `json:"v"`
		Next *list0 `json:"next"`
	}
	list1 struct {
		V    int    `json:"v"`
		Next *list1 `json:"next"`
	}
	list2 struct {
		V    float64 `json:"v"`
		Next *list2  `json:"next"`
	}
	must struct {
		A int `json:"a"`
	}
	may struct {
		A int `json:"a,omitempty"`
	}
	mustMore struct {
		A int    `json:"a"`
		B string `json:"b"`
	}
	mayMore struct {
		A int    `json:"a"`
		B string `json:"b,omitempty"`
	}
)

// takes is a server that takes an event.
func takes[T any]() func(*sockeye.Server) {
	return func(srv *sockeye.Server) { sockeye.Accepts[T](srv, "e") }
}

// sends is one that sends it.
func sends[T any]() func(*sockeye.Server) {
	return func(srv *sockeye.Server) { sockeye.Emits[T](srv, "e") }
}

type register = func(*sockeye.Server)

// TestBreaking: each change, and whether it breaks: from the first server to the second,
// and back.
func TestBreaking(t *testing.T) {
	nothing := func(*sockeye.Server) {}
	child := func(pattern string) register {
		return func(srv *sockeye.Server) { srv.OfPattern(regexp.MustCompile(pattern)).On("e", func() {}) }
	}
	for _, c := range []struct {
		name        string
		from, to    register
		there, back string // what breaks; "" for nothing
	}{
		{"the same", takes[func(must, list0, colour) (int, error)](), takes[func(must, list1, colour) (int, error)](), "", ""},
		{"an event", takes[int](), nothing, "namespace /: it has gone, with all events", ""},
		{"one of two events", func(srv *sockeye.Server) { takes[int]()(srv); srv.On("f", func() {}) }, takes[int](), `event "f": it has gone`, ""},
		{"one of two that are sent", func(srv *sockeye.Server) { sends[int]()(srv); sockeye.Emits[int](srv, "f") }, sends[int](), `event "f": it has gone`, ""},
		{"a namespace", func(srv *sockeye.Server) { srv.Of("/a").On("e", func() {}) }, nothing, "namespace /a: it has gone", ""},
		{"a parent's pattern", child("/a-.*"), child("/b-.*"), "namespace /a-.*: it has gone", "namespace /b-.*: it has gone"},
		{"taken, then sent", takes[int](), sends[int](), "it has gone", "it has gone"},

		{"taken: an argument", takes[func(int)](), takes[func(int, string)](), "argument 2 is new, and must be sent", ""},
		{"taken: an argument that may be missing", takes[func(int)](), takes[func(int, *string)](), "", ""},
		{"taken: an argument may be missing", takes[func(*int)](), takes[func(int)](), "argument 1 must be sent now", ""},
		{"taken: further arguments", takes[func(int)](), takes[func(int, ...int)](), "", ""},
		{"taken: further ones into one", takes[func(...int)](), takes[func(string)](), "argument 1 was integer, and is text", "argument 1 was text, and is integer"},
		{"taken: the further ones' type", takes[func(...int)](), takes[func(...float64)](), "", "the further arguments was number, and is integer"},
		{"taken: integer, number", takes[int](), takes[float64](), "", "argument 1 was number, and is integer"},
		{"taken: text, integer", takes[string](), takes[int](), "argument 1 was text, and is integer", "argument 1 was integer, and is text"},
		{"taken: null", takes[func([]*int)](), takes[func([]int)](), "argument 1[] was integer or null, and is integer", ""},
		{"taken: anything", takes[int](), takes[any](), "", "argument 1 was anything, and is integer"},
		{"taken: more colours", takes[colour](), takes[wider](), "", "argument 1 was one of blue, green, red, and is one of green, red"},
		{"taken: any text", takes[colour](), takes[string](), "", "argument 1 was text, and is one of green, red"},
		{"taken: a time", takes[time.Time](), takes[string](), "", "argument 1 was text, and is text (date-time)"},
		{"taken: a field", takes[must](), takes[mustMore](), "argument 1.b is new, and has to be there", ""},
		{"taken: a field that may be missing", takes[must](), takes[mayMore](), "", ""},
		{"taken: a field may be missing", takes[may](), takes[must](), "argument 1.a has to be there now", ""},
		{"taken: a struct, a map", takes[must](), takes[map[string]int](), "", "argument 1 was table of integer, and is object"},
		{"taken: a map's values", takes[map[string]int](), takes[map[string]string](), "argument 1[] was integer, and is text", "argument 1[] was text, and is integer"},
		{"taken: a fixed length", takes[[2]int](), takes[[]int](), "", "argument 1 was list of integer, and is 2 of integer"},
		{"taken: deep in a list", takes[list0](), takes[list2](), "", "argument 1.v was number, and is integer"},
		{"taken: binary", takes[[]byte](), takes[struct{ B []byte }](), "argument 1 was binary, and is object", "argument 1 was object, and is binary"},
		{"taken: base64 or binary", takes[func([]struct{ B string })](), takes[func([]struct{ B []byte })](), "argument 1[].B was text, and is octets", "argument 1[].B was octets, and is text"},
		{"taken: its answer's type", takes[func() float64](), takes[func() int](), "", "value 1 of its answer was integer, and is number"},
		{"taken: its answer's values", takes[func() (int, int)](), takes[func() int](), "value 2 of its answer is missing now", ""},
		{"taken: its answer's fields", takes[func() mustMore](), takes[func() must](), "value 1 of its answer.b has gone", ""},
		{"taken: its answer's fields may be missing", takes[func() must](), takes[func() may](), "value 1 of its answer.a may be missing now", ""},
		{"taken: it may fail", takes[func() int](), takes[func() (int, error)](), "its answer may be an error now", ""},

		{"sent: an argument", sends[func(int)](), sends[func(int, string)](), "", "argument 2 is missing now"},
		{"sent: integer, number", sends[int](), sends[float64](), "argument 1 was integer, and is number", ""},
		{"sent: null", sends[int](), sends[*int](), "argument 1 was integer, and is integer or null", ""},
		{"sent: anything", sends[int](), sends[any](), "argument 1 was integer, and is anything", ""},
		{"sent: more colours", sends[colour](), sends[wider](), "argument 1 was one of green, red, and is one of blue, green, red", ""},
		{"sent: a time", sends[time.Time](), sends[string](), "argument 1 was text (date-time), and is text", ""},
		{"sent: a field", sends[must](), sends[mustMore](), "", "argument 1.b has gone"},
		{"sent: a field that may be missing", sends[must](), sends[mayMore](), "", ""},
		{"sent: a field may be missing", sends[must](), sends[may](), "argument 1.a may be missing now", ""},
		{"sent: deep in a list", sends[list0](), sends[list2](), "argument 1.v was integer, and is number", ""},
		{"sent: further arguments", sends[func(int)](), sends[func(int, ...int)](), "", "the further arguments have gone"},
		{"sent: one of the further ones", sends[func(...int)](), sends[func(float64, ...int)](), "argument 1 was integer, and is number", "argument 1 is missing now"},
		{"sent: an answer is asked for", sends[func(int)](), sends[func(int) int](), "an answer is asked for now", "no answer is asked for now"},
		{"sent: the peer's answer's type", sends[func() int](), sends[func() float64](), "", "value 1 of the peer's answer was number, and is integer"},
		{"sent: the peer's answer's values", sends[func() int](), sends[func() (int, int)](), "value 2 of the peer's answer is missing now", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			from, to := of(t, c.from), of(t, c.to)
			check(t, "there", contract.Breaking(from, to), c.there)
			check(t, "back", contract.Breaking(to, from), c.back)
			if changes := contract.Breaking(from, from); len(changes) > 0 {
				t.Errorf("it breaks itself: %v", changes)
			}
		})
	}
}

func of(t *testing.T, register register) *contract.Contract {
	t.Helper()
	srv := sockeyetest.NewServer(t, sockeye.Config{})
	register(srv.Server)
	c, err := contract.Of(srv.Server, contract.Options{})
	if err != nil {
		t.Fatal(err)
	}
	read, err := contract.Read(c.AsyncAPI()) // as a committed file
	if err != nil {
		t.Fatal(err)
	}
	return read
}

func check(t *testing.T, way string, changes []contract.Change, want string) {
	t.Helper()
	got := fmt.Sprint(changes)
	if want == "" && len(changes) > 0 || len(changes) > 2 || !strings.Contains(got, want) {
		t.Errorf("%s: %s, want %q", way, got, want)
	}
}
