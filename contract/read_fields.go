package contract

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
)

// goField is a field of a struct that encoding/json encodes.
type goField struct {
	name     string
	t        reflect.Type
	optional bool // it can be left out
	dropsNil bool // a nil pointer is left out
	quoted   bool // ",string"

	tagged bool
	depth  int
	index  []int // where it is, for the order
}

// fieldsOf are a struct's fields as encoding/json has them: those of embedded structs
// are its own; of several with one name the least deep counts, then the tagged one, and
// none if there are two.
func fieldsOf(t reflect.Type) []goField {
	var all []goField
	type level struct {
		t        reflect.Type
		index    []int
		optional bool // it is behind a pointer, which may be nil
	}
	visited := map[reflect.Type]bool{}
	for depth, next := 0, []level{{t: t}}; len(next) > 0; depth++ {
		now := next
		next = nil
		count := map[reflect.Type]int{}
		for _, l := range now {
			count[l.t]++
		}
		for _, l := range now {
			if visited[l.t] {
				continue
			}
			visited[l.t] = true
			for i := range l.t.NumField() {
				f := l.t.Field(i)
				ft := f.Type
				if f.Anonymous {
					if ft.Kind() == reflect.Pointer {
						ft = ft.Elem()
					}
					if !f.IsExported() && ft.Kind() != reflect.Struct {
						continue
					}
				} else if !f.IsExported() {
					continue
				}
				tag := f.Tag.Get("json")
				if tag == "-" {
					continue
				}
				name, options, _ := strings.Cut(tag, ",")
				if !validName(name) {
					name = ""
				}
				index := append(slices.Clip(l.index), i)
				if name == "" && f.Anonymous && ft.Kind() == reflect.Struct {
					next = append(next, level{ft, index, l.optional || f.Type.Kind() == reflect.Pointer})
					continue
				}
				g := goField{
					name: cmp.Or(name, f.Name), t: f.Type, tagged: name != "", depth: depth, index: index,
					quoted: hasOption(options, "string"), optional: l.optional || canBeLeftOut(f.Type, options),
					dropsNil: canBeLeftOut(f.Type, options) && f.Type.Kind() == reflect.Pointer,
				}
				all = append(all, g)
				if count[l.t] > 1 { // embedded twice: none of both
					all = append(all, g)
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b goField) int {
		tagged := map[bool]int{true: 0, false: 1}
		return cmp.Or(strings.Compare(a.name, b.name), a.depth-b.depth, tagged[a.tagged]-tagged[b.tagged])
	})
	var fields []goField
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].name == all[i].name {
			j++
		}
		if j-i == 1 || all[i].depth != all[i+1].depth || all[i].tagged != all[i+1].tagged {
			fields = append(fields, all[i])
		}
		i = j
	}
	slices.SortFunc(fields, func(a, b goField) int { return slices.Compare(a.index, b.index) })
	return fields
}

func hasOption(options, name string) bool { return slices.Contains(strings.Split(options, ","), name) }

// canBeLeftOut tells whether a field's options can leave it out.
func canBeLeftOut(t reflect.Type, options string) bool {
	if hasOption(options, "omitzero") {
		return true
	}
	return hasOption(options, "omitempty") && t.Kind() != reflect.Struct && !(t.Kind() == reflect.Array && t.Len() > 0)
}

// validName is encoding/json's isValidTag.
func validName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r) && !isLetterOrDigit(r)
	})
}
