package contract_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/contract"
	"github.com/sockeye-io/sockeye/sockeyetest"
)

var update = flag.Bool("update", false, "write testdata/")

// What is in testdata/all.d.ts and all.json: everything that a type can be.

type phase string

const (
	waiting phase = "waiting"
	playing phase = "playing"
	over          = phase("over")
	quoted  phase = `"quoted"`
)

type reason string // open

const gone reason = "gone"

var _ = []any{over, quoted, gone}

type plain string // without constants

type node struct {
	Value int     `json:"value"`
	Next  *node   `json:"next"`
	Kids  []node  `json:"kids,omitempty"`
	By    byName  `json:"by"`
	Deep  forest  `json:"deep"`
	Never *string `json:"-"`
}

type (
	byName         map[string]node
	forest         []forest
	tree           map[string]tree
	page[T any]    struct{ Items []T }
	pair[K, V any] struct {
		Key   K
		Value V
	}
	base struct {
		ID     string `json:"id"`
		Shadow int    `json:"shadow"`
		Both   int    `json:"both"`
	}
	other struct {
		Both int `json:"both"`
	}
	embeds struct {
		base
		*other
		Shadow string `json:"shadow"`
		Named  base   `json:"named"`
	}
	options struct {
		Text    string    `json:"text,omitempty"`
		Zero    time.Time `json:"zero,omitzero"`
		Struct  base      `json:"struct,omitempty"`
		Quoted  int64     `json:"quoted,string"`
		Pointer *int      `json:"pointer,omitempty"`
		Odd     bool      `json:"odd-name"`
		Any     any       `json:"any"`
		Default float64
	}
	file struct {
		Name string `json:"name"`
		Data []byte `json:"data"`
	}
	own    struct{ _ int }
	Socket struct{ Fd int } // a name of the file's own
)

func (own) MarshalJSON() ([]byte, error) { return []byte(`"own"`), nil }
func (*own) UnmarshalJSON([]byte) error  { return nil }

type function struct{ Args [2]int }

func all(t testing.TB) (*sockeyetest.Server, contract.Options) {
	srv := sockeyetest.NewServer(t, sockeye.Config{})
	sockeye.Emits[func(phase, plain, reason)](srv, "texts")
	sockeye.Emits[func(int, float64, uint64, bool, time.Duration, *int, any)](srv, "numbers")
	sockeye.Emits[func(time.Time, json.Number, json.RawMessage, big.Int, *big.Int, netip.Addr, own)](srv, "own forms")
	sockeye.Emits[func([]byte, [][]byte, map[string][]byte, file)](srv, "binary")
	sockeye.Emits[func([]string, []*string, []phase, map[string]int, map[int]*base, [2]bool, [20]int, [][]int)](srv, "lists")
	sockeye.Emits[func(node, *node, []node, tree)](srv, "recursive")
	sockeye.Emits[func(page[node], page[base], pair[string, map[string]page[int]])](srv, "generic")
	sockeye.Emits[func(embeds, options, struct{ A int }, struct{})](srv, "structs")
	sockeye.Emits[func(function, Socket, Socket)](srv, "names")
	sockeye.Emits[func(a string, rest ...phase)](srv, "rest")
	sockeye.Emits[func()](srv, "it's \"quoted\"\u2028")
	sockeye.Emits[func()](srv, "*/\n${x}`\\")
	sockeye.Emits[func(question string) int](srv, "ask")
	sockeye.Emits[func(question string) (int, []byte)](srv, "ask2")
	sockeye.Emits[func() error](srv, "there?")

	srv.On("none", func() {})
	srv.On("fails", func(string) error { return nil })
	srv.On("sum", func(a, b int) int { return a + b })
	srv.On("divide", func(a, b float64) (float64, error) { return a / b, nil })
	srv.On("two", func() (int, string) { return 0, "" })
	srv.On("two or fails", func() (int, []byte, error) { return 0, nil, nil })
	srv.On("optional", func(*sockeye.Socket, string, *int, *phase) {})
	srv.On("optional, asked", func(*int) int { return 0 })
	srv.On("many", func(string, ...float64) {})
	srv.On("many, asked", func(...float64) float64 { return 0 })
	srv.On("upload", func(file, []byte, io.Reader) file { return file{} })
	srv.On("argument", func(sockeye.Argument, node) {})
	srv.On("own", func(own) {})
	sockeye.Accepts[func(phase) (bool, error)](srv, "raw")
	srv.On("raw", func(*sockeye.Socket, *sockeye.Event) error { return nil })

	admin := srv.Of("/admin/users")
	admin.On("list", func() []base { return nil })
	sockeye.Emits[base](srv.Of("/quiet"), "base")
	srv.Of("/nothing")
	games := srv.OfPattern(regexp.MustCompile(`/game-[a-z0-9]+`))
	games.On("move", func(x, y int) error { return nil })
	byName := srv.OfFunc(func(name string, _ json.RawMessage) bool { return false })
	sockeye.Emits[string](byName, "hello")
	srv.OfFunc(func(name string, _ json.RawMessage) bool { return false }) // without events
	srv.Of("/game-1")                                                      // shows nothing of its own
	return srv, contract.Options{
		Title: "Everything", Version: "2",
		Names: map[*sockeye.ParentNamespace]string{byName: "by name"},
		Types: map[reflect.Type]reflect.Type{reflect.TypeFor[own](): reflect.TypeFor[string]()},
		Open:  []reflect.Type{reflect.TypeFor[reason]()},
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	name = "testdata/" + name
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil || string(want) != string(got) {
		t.Errorf("%s is otherwise (%v; -update writes it):\n%s", name, err, got)
	}
}

// TestAll: both files of everything. interop/contract gives them to TypeScript's compiler
// and to AsyncAPI's parser.
func TestAll(t *testing.T) {
	srv, o := all(t)
	c, err := contract.Of(srv.Server, o)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "all.d.ts", c.TypeScript())
	golden(t, "all.json", c.AsyncAPI())
	again, err := contract.Of(srv.Server, o)
	if err != nil || string(again.AsyncAPI()) != string(c.AsyncAPI()) || string(again.TypeScript()) != string(c.TypeScript()) {
		t.Errorf("the second time it is otherwise, or %v", err)
	}
	// What is read is what was written.
	read, err := contract.Read(c.AsyncAPI())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "all.json", read.AsyncAPI())
	if changes := append(contract.Breaking(c, read), contract.Breaking(read, c)...); len(changes) > 0 {
		t.Errorf("%v", changes)
	}
}

// TestFaults: what cannot be told is an error that names it, all at once.
func TestFaults(t *testing.T) {
	srv := sockeyetest.NewServer(t, sockeye.Config{})
	srv.On("raw", func(*sockeye.Socket, *sockeye.Event) error { return nil })
	srv.On("twice", func(int) {})
	sockeye.Accepts[int](srv, "twice")
	sockeye.Emits[own](srv, "own")
	type itself *itself
	sockeye.Emits[itself](srv, "itself")
	unnamed := srv.OfFunc(func(string, json.RawMessage) bool { return false })
	unnamed.On("x", func() {})
	for range 2 {
		srv.OfPattern(regexp.MustCompile("/same")).On("x", func() {})
	}
	_, err := contract.Of(srv.Server, contract.Options{})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`namespace /, event "raw": its handler takes an *Event`, `event "twice": sockeye.Accepts declares it`,
		`event "own": contract_test.own encodes itself`, `event "itself": contract_test.itself holds nothing but itself`,
		"a parent of OfFunc has no name", "two parents have the name /same",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nhas not %q", err, want)
		}
	}
	for _, text := range []string{"", "{}", `{"asyncapi":"2.6.0"}`, `{"asyncapi":"3.0.0","channels":{"x":{"address":"/"}}}`} {
		if _, err := contract.Read([]byte(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

// TestFieldsAreJSONs: the fields of a struct are those that encoding/json has.
func TestFieldsAreJSONs(t *testing.T) {
	type A struct{ X, Y int }
	type B struct{ X, Z int }
	type tagged struct {
		Other int `json:"X"`
	}
	type deep struct{ A }
	type (
		left  struct{ A }
		right struct{ A }
	)
	for _, v := range []any{
		embeds{other: &other{}},
		options{Text: "x", Zero: time.Now(), Pointer: new(int)},
		node{Kids: []node{{}}},
		struct {
			A
			B
		}{},
		struct {
			A
			tagged
		}{},
		struct {
			deep
			B
		}{},
		struct {
			deep
			A
		}{},
		struct {
			A `json:"a"`
			B
		}{},
		struct {
			X int `json:"é"`
			Y int `json:"-"`
			Z int `json:"a b"`
		}{},
		struct {
			left
			right
		}{}, // A twice: none of its fields
		struct{ *A }{&A{}},
		struct{ error }{errors.New("x")},
		struct {
			phase
			Phase phase
		}{},
	} {
		var want map[string]any
		b, err := json.Marshal(v)
		if err == nil {
			err = json.Unmarshal(b, &want)
		}
		if err != nil {
			t.Fatal(err)
		}
		got := contract.FieldNames(reflect.TypeOf(v))
		for _, name := range got {
			if _, ok := want[name]; !ok {
				t.Errorf("%T has no field %q in JSON: %s", v, name, b)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%T: %q, want %s", v, got, b)
		}
	}
}

// recorder is a TB.
type recorder struct {
	testing.TB
	said []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatal(args ...any) { r.said = append(r.said, fmt.Sprint(args...)) }

// TestTest: what a user's test says of its files.
func TestTest(t *testing.T) {
	t.Setenv(contract.Folder, "")
	dir := t.TempDir()
	files := contract.Files{TypeScript: dir + "/c.d.ts", AsyncAPI: dir + "/c.json"}
	run := func(register func(srv *sockeyetest.Server)) string {
		srv := sockeyetest.NewServer(t, sockeye.Config{})
		register(srv)
		var r recorder
		contract.Test(&r, srv.Server, files, contract.Options{})
		return strings.Join(r.said, "\n")
	}
	write := func(register func(srv *sockeyetest.Server)) {
		srv := sockeyetest.NewServer(t, sockeye.Config{})
		register(srv)
		c, err := contract.Of(srv.Server, contract.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for name, b := range map[string][]byte{files.TypeScript: c.TypeScript(), files.AsyncAPI: c.AsyncAPI()} {
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	one := func(srv *sockeyetest.Server) { srv.On("say", func(string) {}) }
	more := func(srv *sockeyetest.Server) { one(srv); srv.On("more", func() {}) }
	breaks := func(srv *sockeyetest.Server) { srv.On("say", func(int) {}) }
	if got := run(one); strings.Count(got, "is not what is registered; write it by") != 2 {
		t.Errorf("without files: %s", got)
	}
	write(one)
	if got := run(one); got != "" {
		t.Errorf("up to date: %s", got)
	}
	if got := run(more); strings.Count(got, "is not what is registered") != 2 || strings.Contains(got, "breaks") {
		t.Errorf("compatible: %s", got)
	}
	if got := run(breaks); !strings.Contains(got, `it breaks peers: namespace /, event "say": argument 1 was text, and is integer`) {
		t.Errorf("a break: %s", got)
	}
	if got := run(func(srv *sockeyetest.Server) { sockeye.Emits[own](srv, "x") }); !strings.Contains(got, "encodes itself") {
		t.Errorf("a fault: %s", got)
	}
	if err := os.WriteFile(files.AsyncAPI, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := run(one); !strings.Contains(got, "contract: ") {
		t.Errorf("no document: %s", got)
	}
}

// TestNames: types of one name are told apart, the same way each time, and so are names
// that are the file's own.
func TestNames(t *testing.T) {
	one := func(srv *sockeye.Server) {
		type thing struct{ A int }
		sockeye.Emits[thing](srv, "one")
	}
	two := func(srv *sockeye.Server) {
		type thing struct{ B string }
		sockeye.Emits[thing](srv, "two")
	}
	type AckError struct{ C int }
	type GameSocket struct{ D int }
	srv := sockeyetest.NewServer(t, sockeye.Config{})
	one(srv.Server)
	two(srv.Server)
	sockeye.Emits[func(AckError, GameSocket)](srv, "own")
	srv.Of("/default").On("own", func(string) {}) // the key of "/" is Default
	srv.OfPattern(regexp.MustCompile("/game-.*")).On("e", func() {})
	srv.OfPattern(regexp.MustCompile("/game/.*")).On("e", func() {})
	srv.OfPattern(regexp.MustCompile(".*")).On("e", func() {})
	c, err := contract.Of(srv.Server, contract.Options{})
	if err != nil {
		t.Fatal(err)
	}
	text := string(c.TypeScript())
	for _, want := range []string{
		"one: (thing: Contract_testThing)", "two: (thing: Contract_testThing2)",
		"own: (ackError: AckError_, gameSocket: GameSocket_)",
		"export type GameSocket = ", "export type Game2Socket = ", "export type DynamicSocket = ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it has not %q:\n%s", want, text)
		}
	}
	read, err := contract.Read(c.AsyncAPI())
	if err != nil || string(read.AsyncAPI()) != string(c.AsyncAPI()) {
		t.Errorf("%v", err)
	}
}
