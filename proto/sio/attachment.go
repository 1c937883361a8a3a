package sio

import (
	"encoding/base64"
	"strconv"
)

// A binary attachment is a message of its own; in the JSON an object stands for
// it: {"_placeholder":true,"num":0}. Socket.IO v5, "Packet encoding".
//
// As for the reference server, any object is a placeholder in which
// "_placeholder" is true, whatever else it has, and of names that repeat the
// last one counts. Other than there, "num" must be written as an integer, and no
// two placeholders may stand for the same attachment: a packet would otherwise
// become many times its size.

// AppendPlaceholder appends the object that stands for attachment num.
func AppendPlaceholder(dst []byte, num int) []byte {
	dst = append(dst, `{"_placeholder":true,"num":`...)
	return append(strconv.AppendInt(dst, int64(num), 10), '}')
}

// IsPlaceholder tells whether a valid JSON value is a placeholder, and for which
// attachment; num is -1 if that is no integer from 0.
func IsPlaceholder(value []byte) (num int, ok bool) {
	if len(value) == 0 || value[0] != '{' {
		return 0, false
	}
	var scratch [4]placeholder
	all := findPlaceholders(value, scratch[:0])
	if len(all) == 1 && all[0].start == 0 && all[0].end == len(value) {
		return all[0].num, true
	}
	return 0, false
}

// CheckPlaceholders checks that each placeholder in valid JSON stands for one of
// n attachments, and no two for the same. Attachments may be left over. The
// error is a *SyntaxError with ErrPlaceholder.
func CheckPlaceholders(json []byte, n int) error {
	var scratch [16]placeholder
	return checkNumbers(findPlaceholders(json, scratch[:0]), n)
}

// AppendResolved appends valid JSON with each placeholder replaced by its
// attachment as a base64 string, which encoding/json decodes into a []byte. The
// error, with which it returns nil, is CheckPlaceholders'.
func AppendResolved(dst, json []byte, attachments [][]byte) ([]byte, error) {
	var scratch [16]placeholder
	all := findPlaceholders(json, scratch[:0])
	if err := checkNumbers(all, len(attachments)); err != nil {
		return nil, err
	}
	from := 0
	for _, p := range all {
		dst = append(append(dst, json[from:p.start]...), '"')
		dst = append(base64.StdEncoding.AppendEncode(dst, attachments[p.num]), '"')
		from = p.end
	}
	return append(dst, json[from:]...), nil
}

// AppendRenumbered appends valid JSON with each placeholder replaced by one with
// another number: what number gives for its own, which is -1 if it has none. If
// that says false the placeholder has no attachment: the error, with which it
// returns nil, is a *SyntaxError with ErrPlaceholder. Numbers may repeat, unless
// CheckPlaceholders has seen the JSON.
func AppendRenumbered(dst, json []byte, number func(num int) (int, bool)) ([]byte, error) {
	var scratch [16]placeholder
	from := 0
	for _, p := range findPlaceholders(json, scratch[:0]) {
		num, ok := number(p.num)
		if !ok {
			return nil, &SyntaxError{p.start, ErrPlaceholder}
		}
		dst = AppendPlaceholder(append(dst, json[from:p.start]...), num)
		from = p.end
	}
	return append(dst, json[from:]...), nil
}

// checkNumbers checks that numbers are below n and do not repeat.
func checkNumbers(all []placeholder, n int) error {
	var scratch [128]bool
	seen := scratch[:]
	if n > len(scratch) {
		seen = make([]bool, n)
	}
	for _, p := range all {
		if p.num < 0 || p.num >= n || seen[p.num] {
			return &SyntaxError{p.start, ErrPlaceholder}
		}
		seen[p.num] = true
	}
	return nil
}

// placeholder is one found in JSON: json[start:end].
type placeholder struct {
	start, end int
	num        int // -1 if "num" is no integer from 0, or missing
}

// container is one that is open in the walk.
type container struct {
	start  int
	found  int // placeholders found before it
	object bool
	mark   bool // "_placeholder" is true
	num    int  // as in placeholder
}

// findPlaceholders appends the placeholders of valid JSON, the outermost only.
// It does not recurse; what it keeps is bounded by the depth that the scanner
// has let through. JSON that is not valid gives anything.
func findPlaceholders(json []byte, found []placeholder) []placeholder {
	var scratch [16]container
	open := scratch[:0]
	var name []byte // the literal, if a member's value comes next
	for i := 0; i < len(json); {
		switch c := json[i]; c {
		case '{', '[':
			setMember(open, name, json[i:i+1])
			name = nil
			open = append(open, container{start: i, found: len(found), object: c == '{', num: -1})
			i++
		case '}', ']':
			if len(open) == 0 {
				return found
			}
			o := open[len(open)-1]
			open = open[:len(open)-1]
			i++
			if o.mark {
				found = append(found[:o.found], placeholder{o.start, i, o.num})
			}
		case '"':
			end, err := scanString(json, i)
			if err != nil {
				return found
			}
			if name == nil && len(open) > 0 && open[len(open)-1].object {
				name = json[i:end]
			} else {
				setMember(open, name, json[i:end])
				name = nil
			}
			i = end
		case ' ', '\t', '\n', '\r', ',', ':':
			i++
		default: // a number, true, false or null
			end := i + 1
			for end < len(json) && !isDelimiter(json[end]) {
				end++
			}
			setMember(open, name, json[i:end])
			name = nil
			i = end
		}
	}
	return found
}

// isDelimiter tells whether c ends a number, true, false or null.
func isDelimiter(c byte) bool {
	return c == ',' || c == ']' || c == '}' || c == ' ' || c == '\t' || c == '\n' || c == '\r'
}

// setMember notes a member of the innermost object if a placeholder has it. Of
// an object or array, value is the first byte only.
func setMember(open []container, name, value []byte) {
	if name == nil {
		return
	}
	// Either name may be written with escapes.
	decoded, err := EventName(name)
	if err != nil {
		return
	}
	o := &open[len(open)-1]
	switch string(decoded) {
	case "_placeholder":
		o.mark = string(value) == "true"
	case "num":
		o.num = -1
		if n, err := strconv.ParseUint(string(value), 10, 31); err == nil {
			o.num = int(n)
		}
	}
}
