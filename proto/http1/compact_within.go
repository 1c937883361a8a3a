package http1

import "bytes"

// AppendCompactWithin is AppendCompact for a limit, in bytes of the compact form.
// Of a head that takes more, fields are left out, and left is true: those named in
// first are served first, in that order, then the others as they came; each stays
// if it fits into what is left. The request line and the Host field, which Expand
// cannot do without, always stay, so that the result may be larger by them. A
// negative limit is none.
func (r *Request) AppendCompactWithin(dst []byte, limit int, first []string) (_ []byte, left bool) {
	start := len(dst)
	dst = r.AppendCompact(dst)
	if limit < 0 || len(dst)-start <= limit {
		return dst, false
	}
	dst = appendCompactLine(dst[:start], r.head[:len(r.head)-len(r.fields)])
	if host := r.Header("Host"); host != nil { // without the white space around it
		line := append(append([]byte("Host: "), host...), "\r\n"...)
		dst = appendCompactLine(dst, line)
	}

	type field struct {
		line []byte
		keep bool
	}
	var fields []field
	for rest := r.fields; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n') + 1
		fields = append(fields, field{line: rest[:i]})
		rest = rest[i:]
	}
	space := limit - (len(dst) - start)
	var scratch []byte
	keep := func(f *field) {
		if f.keep || isField(f.line, "Host") {
			return
		}
		scratch = appendCompactLine(scratch[:0], f.line)
		if len(scratch) <= space {
			f.keep = true
			space -= len(scratch)
		}
	}
	for _, name := range first {
		for i := range fields {
			if isField(fields[i].line, name) {
				keep(&fields[i])
			}
		}
	}
	for i := range fields {
		keep(&fields[i])
	}
	for _, f := range fields {
		if f.keep {
			dst = appendCompactLine(dst, f.line)
		}
	}
	return dst, true
}
