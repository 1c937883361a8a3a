package contract

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/sockeye-io/sockeye"
)

// Contract is what a server sends and takes. It is immutable.
type Contract struct {
	title   string
	version string
	entries []*entry // by name
	types   map[string]*shape
}

// entry is a namespace, or a parent's children.
type entry struct {
	name    string // of the namespace, with its slash; of a parent its pattern, or what Options.Names calls it
	dynamic bool
	label   string   // begins the names of its types; "" for "/"
	taken   []*event // from peers, by name
	sent    []*event // to peers, by name
}

// event is one that is sent or taken.
type event struct {
	name    string
	args    []argument
	rest    *shape // of further arguments; nil for none
	answers bool   // who gets it answers: always if it is taken
	answer  []*shape
	fails   bool // the answer may be an AckError instead
}

// argument is one of an event's.
type argument struct {
	name    string // for people
	shape   *shape
	missing bool // it may be left out, with those behind it
}

// Options are what a server does not tell itself. The zero value works.
type Options struct {
	Title   string // of the AsyncAPI document. Default "Sockeye"
	Version string // likewise. Default "1"

	// Names are those of the parents that OfFunc has made, and for TypeScript of others.
	Names map[*sockeye.ParentNamespace]string

	// Types says for a type that encodes itself (MarshalJSON) what its JSON is like:
	// like that of another type.
	Types map[reflect.Type]reflect.Type

	// Open are types of strings that have other values than their constants, too.
	Open []reflect.Type
}

// Of reads what is registered and declared at present. Its error has all that cannot be
// told, each with its namespace and event.
func Of(srv *sockeye.Server, o Options) (*Contract, error) {
	r := newReader(o)
	c := &Contract{title: or(o.Title, "Sockeye"), version: or(o.Version, "1")}
	for _, ns := range srv.Namespaces() {
		if !ns.Dynamic() {
			c.add(r.entry(ns.Name(), false, ns.Signatures()))
		}
	}
	for _, p := range srv.Parents() {
		sigs := p.Signatures()
		name := or(p.Pattern(), o.Names[p])
		if name == "" && len(sigs) > 0 {
			r.fault("a parent of OfFunc has no name: give it one in Options.Names")
			continue
		}
		e := r.entry(name, true, sigs)
		if slices.ContainsFunc(c.entries, func(x *entry) bool { return x.dynamic && x.name == name }) {
			r.fault("two parents have the name " + name)
		}
		r.labels[e] = o.Names[p]
		c.add(e)
	}
	slices.SortFunc(c.entries, func(a, b *entry) int { return strings.Compare(a.id(), b.id()) })
	c.types = r.finish(c)
	if len(r.faults) > 0 {
		return nil, fmt.Errorf("contract: what peers see cannot be told:\n%w", errors.Join(r.faults...))
	}
	return c, nil
}

func (c *Contract) add(e *entry) {
	if len(e.sent)+len(e.taken) > 0 {
		c.entries = append(c.entries, e)
	}
}

// id tells an entry from others, dynamic ones last.
func (e *entry) id() string {
	if e.dynamic {
		return "~" + e.name
	}
	return e.name
}

var patternHead = regexp.MustCompile(`^\^?(?:\\/|[\w/-])*`)

// base is the entry's label, but for others that have the same.
func (e *entry) base(label string) string {
	switch {
	case e.name == "/" && !e.dynamic:
		return ""
	case label == "" && e.dynamic:
		label = capitals(patternHead.FindString(e.name))
		if label == "T" {
			return "Dynamic"
		}
	case label == "":
		label = e.name
	}
	return capitals(label)
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
