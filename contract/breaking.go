package contract

import (
	"fmt"
	"slices"
)

// Change is one that breaks peers which were built against the old contract.
type Change struct {
	Namespace string
	Event     string // "" for the namespace as a whole
	What      string
}

func (c Change) String() string {
	if c.Event == "" {
		return fmt.Sprintf("namespace %s: %s", c.Namespace, c.What)
	}
	return fmt.Sprintf("namespace %s, event %q: %s", c.Namespace, c.Event, c.What)
}

// Breaking are the changes from one contract to another that break peers of the old one,
// as docs/contracts.md lists them: what peers send may become wider, what they get
// narrower.
func Breaking(old, now *Contract) []Change {
	d := &differ{now: now}
	for _, was := range old.entries {
		i := slices.IndexFunc(now.entries, func(e *entry) bool { return e.id() == was.id() })
		if i < 0 {
			d.changes = append(d.changes, Change{Namespace: was.name, What: "it has gone, with all events"})
			continue
		}
		d.namespace = was.name
		is := now.entries[i]
		d.events(was.taken, is.taken, func(was, is *event) { d.taken(old, now, was, is) })
		d.events(was.sent, is.sent, func(was, is *event) { d.sent(old, now, was, is) })
	}
	return d.changes
}

type differ struct {
	now              *Contract
	namespace, event string
	changes          []Change
}

func (d *differ) breaks(format string, args ...any) {
	d.changes = append(d.changes, Change{d.namespace, d.event, fmt.Sprintf(format, args...)})
}

func (d *differ) events(was, is []*event, compare func(was, is *event)) {
	for _, ev := range was {
		d.event = ev.name
		i := slices.IndexFunc(is, func(x *event) bool { return x.name == ev.name })
		if i < 0 {
			d.breaks("it has gone")
			continue
		}
		compare(ev, is[i])
	}
}

// taken compares an event of peers: what they send still has to be taken, and the answer
// must be one that they know.
func (d *differ) taken(old, now *Contract, was, is *event) {
	for i := range max(len(was.args), len(is.args)) {
		switch {
		case i >= len(is.args):
			if is.rest != nil {
				d.within(old, now, was.args[i].shape, is.rest, "argument %d", i+1)
			}
		case i >= len(was.args):
			if !is.args[i].missing {
				d.breaks("argument %d is new, and must be sent", i+1)
			}
			if was.rest != nil {
				d.within(old, now, was.rest, is.args[i].shape, "argument %d", i+1)
			}
		default:
			if was.args[i].missing && !is.args[i].missing {
				d.breaks("argument %d must be sent now", i+1)
			}
			d.within(old, now, was.args[i].shape, is.args[i].shape, "argument %d", i+1)
		}
	}
	if was.rest != nil && is.rest != nil {
		d.within(old, now, was.rest, is.rest, "the further arguments")
	}
	if !was.fails && is.fails {
		d.breaks("its answer may be an error now")
	}
	d.values(now, old, is.answer, was.answer, "value %d of its answer")
}

// sent compares an event of the server's: peers must know what they get, and what they
// answer has to be taken.
func (d *differ) sent(old, now *Contract, was, is *event) {
	var before, after []*shape
	for _, a := range was.args {
		before = append(before, a.shape)
	}
	for _, a := range is.args {
		after = append(after, a.shape)
	}
	d.values(now, old, after, before, "argument %d")
	switch {
	case was.rest != nil && is.rest == nil:
		d.breaks("the further arguments have gone")
	case was.rest != nil:
		d.within(now, old, is.rest, was.rest, "the further arguments")
		for i := len(before); i < len(after); i++ {
			d.within(now, old, after[i], was.rest, "argument %d", i+1)
		}
	}
	switch {
	case was.answers && !is.answers:
		d.breaks("no answer is asked for now: peers have no function to call")
	case !was.answers && is.answers:
		d.breaks("an answer is asked for now: peers give none")
	case is.answers:
		d.values(old, now, was.answer, is.answer, "value %d of the peer's answer")
	}
}

// values compares what is given with what is known: of fewer values some are missed,
// further ones are not looked at.
func (d *differ) values(given, known *Contract, gives, knows []*shape, what string) {
	for i, s := range knows {
		if i >= len(gives) {
			d.breaks(what+" is missing now", i+1)
			continue
		}
		d.within(given, known, gives[i], s, what, i+1)
	}
}

// within tells of values of a shape that are none of another.
func (d *differ) within(givenIn, knownIn *Contract, given, known *shape, what string, args ...any) {
	w := &within{givenIn, knownIn, givenIn == d.now, map[[2]*shape]bool{}}
	if why := w.fault(given, known, ""); why != "" {
		d.breaks("%s", fmt.Sprintf(what, args...)+why)
	}
}

type within struct {
	given, known *Contract
	isNow        bool               // what is given is the new contract's
	open         map[[2]*shape]bool // are being compared
}

// fault says which value of one shape is none of the other; "" for none.
func (w *within) fault(given, known *shape, path string) string {
	if w.open[[2]*shape{given, known}] {
		return ""
	}
	w.open[[2]*shape{given, known}] = true
	a, b := w.given.resolve(given), w.known.resolve(known)
	was, is := a, b
	if w.isNow {
		was, is = b, a
	}
	differs := fmt.Sprintf("%s was %v, and is %v", path, was, is)
	switch {
	case b.kind == anything:
	case a.null && !b.null:
		return differs
	case a.kind == enum && b.kind == enum:
		for _, v := range a.values {
			if !slices.Contains(b.values, v) {
				return differs
			}
		}
	case a.kind == enum && b.kind == text && b.format == "", a.kind == integer && b.kind == number:
	case b.kind == octets && (a.kind == binary || a.kind == text && a.format == "base64"):
	case a.kind == object && b.kind == table:
		for _, f := range a.fields {
			if why := w.fault(f.shape, b.elem, path+"."+f.name); why != "" {
				return why
			}
		}
	case a.kind != b.kind, a.kind == text && b.format != "" && a.format != b.format, a.kind == list && b.length > 0 && a.length != b.length:
		return differs
	case a.kind == list, a.kind == table:
		return w.fault(a.elem, b.elem, path+"[]")
	case a.kind == object:
		return w.fields(a, b, path)
	}
	return ""
}

func (w *within) fields(a, b *shape, path string) string {
	gone, may := " is new, and has to be there", " has to be there now"
	if w.isNow {
		gone, may = " has gone", " may be missing now"
	}
	near := slices.Clone(b.fields) // what is close is told of first
	slices.SortStableFunc(near, func(x, y field) int { return deep(x.shape) - deep(y.shape) })
	for _, f := range near {
		i := slices.IndexFunc(a.fields, func(x field) bool { return x.name == f.name })
		switch {
		case i < 0 && f.optional:
		case i < 0:
			return path + "." + f.name + gone
		case a.fields[i].optional && !f.optional:
			return path + "." + f.name + may
		default:
			if why := w.fault(a.fields[i].shape, f.shape, path+"."+f.name); why != "" {
				return why
			}
		}
	}
	return ""
}

func deep(s *shape) int {
	if s.kind == named {
		return 1
	}
	return 0
}

// resolve looks up a name; what may be null stays so.
func (c *Contract) resolve(s *shape) *shape {
	for n := 0; s.kind == named && n < 100; n++ {
		to := c.types[*s.name]
		if to == nil {
			return &shape{kind: anything}
		}
		if s.null && !to.null {
			to = to.orNull()
		}
		s = to
	}
	return s
}
