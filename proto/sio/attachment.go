package sio

import (
	"encoding/base64"
	"strconv"
)

// A binary attachment is a message of its own; in the JSON an object stands for
// it: {"_placeholder":true,"num":0}. Socket.IO v5, "Packet encoding".

// AppendPlaceholder appends the object that stands for attachment num.
func AppendPlaceholder(dst []byte, num int) []byte {
	dst = append(dst, `{"_placeholder":true,"num":`...)
	return append(strconv.AppendInt(dst, int64(num), 10), '}')
}

// IsPlaceholder tells whether a valid JSON value is a placeholder, and for which
// attachment; num is -1 if that is no number of one.
func IsPlaceholder(value []byte) (num int, ok bool) {
	if len(value) == 0 || value[0] != '{' {
		return 0, false
	}
	all := placeholders(value, nil)
	if len(all) == 1 && all[0].start == 0 && all[0].end == len(value) {
		return all[0].num, true
	}
	return 0, false
}

// CheckPlaceholders checks that each placeholder in valid JSON stands for one of
// n attachments.
func CheckPlaceholders(json []byte, n int) error {
	var room [16]placeholder
	for _, p := range placeholders(json, room[:0]) {
		if p.num < 0 || p.num >= n {
			return &SyntaxError{p.start, ErrPlaceholder}
		}
	}
	return nil
}

// AppendRenumbered appends valid JSON with another number in each placeholder:
// what number gives for it; false is an error.
func AppendRenumbered(dst, json []byte, number func(num int) (int, bool)) ([]byte, error) {
	return appendReplaced(dst, json, func(dst []byte, num int) ([]byte, bool) {
		n, ok := number(num)
		return AppendPlaceholder(dst, n), ok
	})
}

// AppendResolved appends valid JSON with each placeholder replaced by its
// attachment as a base64 string, which encoding/json decodes into a []byte.
func AppendResolved(dst, json []byte, attachments [][]byte) ([]byte, error) {
	return appendReplaced(dst, json, func(dst []byte, num int) ([]byte, bool) {
		if num < 0 || num >= len(attachments) {
			return dst, false
		}
		dst = base64.StdEncoding.AppendEncode(append(dst, '"'), attachments[num])
		return append(dst, '"'), true
	})
}

func appendReplaced(dst, json []byte, replace func(dst []byte, num int) ([]byte, bool)) ([]byte, error) {
	var room [16]placeholder
	from := 0
	for _, p := range placeholders(json, room[:0]) {
		dst = append(dst, json[from:p.start]...)
		var ok bool
		if dst, ok = replace(dst, p.num); !ok {
			return dst, &SyntaxError{p.start, ErrPlaceholder}
		}
		from = p.end
	}
	return append(dst, json[from:]...), nil
}

// placeholder is one found in JSON: json[start:end].
type placeholder struct{ start, end, num int }

// frame is one open container of the walk.
type frame struct {
	start  int
	found  int // placeholders found before it
	object bool
	mark   bool // "_placeholder" is true
	num    int  // of "num"; -1 if that is no small number
}

// placeholders appends the placeholders of valid JSON, the outermost only. It
// does not recurse: the scanner has bounded the depth.
func placeholders(json []byte, found []placeholder) []placeholder {
	var room [32]frame
	open := room[:0]
	key := []byte(nil) // of the value that comes next, in an object
	for i := 0; i < len(json); {
		switch c := json[i]; c {
		case '{', '[':
			open = append(open, frame{start: i, found: len(found), object: c == '{', num: -1})
			key = nil
			i++
		case '}', ']':
			if len(open) == 0 {
				return found // not valid: the caller has not checked
			}
			f := open[len(open)-1]
			open = open[:len(open)-1]
			i++
			if f.mark {
				found = append(found[:f.found], placeholder{f.start, i, f.num})
			}
			key = nil
		case '"':
			end, err := scanString(json, i)
			if err != nil {
				return found
			}
			literal := json[i:end]
			i = end
			if next := skipSpace(json, i); key == nil && len(open) > 0 && open[len(open)-1].object && next < len(json) && json[next] == ':' {
				key, i = literal, next+1
			} else {
				setMember(open, key, literal)
				key = nil
			}
		case ' ', '\t', '\n', '\r', ',', ':':
			i++
		default:
			end := i
			for end < len(json) && !isDelimiter(json[end]) {
				end++
			}
			setMember(open, key, json[i:end])
			key = nil
			i = max(end, i+1)
		}
	}
	return found
}

func isDelimiter(c byte) bool {
	return c == ',' || c == ']' || c == '}' || c == ' ' || c == '\t' || c == '\n' || c == '\r'
}

// setMember notes a member of the innermost object if a placeholder has it.
func setMember(open []frame, key, value []byte) {
	if key == nil || len(open) == 0 {
		return
	}
	name, err := EventName(key)
	if err != nil {
		return
	}
	f := &open[len(open)-1]
	switch string(name) {
	case "_placeholder":
		f.mark = string(value) == "true"
	case "num":
		f.num = -1
		if n, err := strconv.ParseUint(string(value), 10, 31); err == nil {
			f.num = int(n)
		}
	}
}
