package http1

// ParseRequest reads the first request of a stream that arrives in the given
// pieces, as a server with DefaultHeadLimits does, except that it sets no
// limit to the content. n is the length of the request, with its content; it is
// 0 when there is no error and the request is not complete. The error is an
// *Error. How the stream was cut makes no difference to the result.
//
// It is for tests and tools: r owns its bytes, and they have been copied.
func ParseRequest(pieces ...[]byte) (r *Request, n int, err error) {
	var p requestParser
	for _, piece := range pieces {
		if err := p.add(piece); err != nil {
			return nil, 0, err
		}
		if p.done {
			return p.r, p.n, nil
		}
	}
	return nil, 0, nil
}

// requestParser is the state of ParseRequest.
type requestParser struct {
	b      []byte // what has not been consumed
	r      *Request
	chunks ChunkedReader
	n      int
	done   bool
}

func (p *requestParser) add(piece []byte) error {
	p.b = append(p.b, piece...)
	if p.r == nil {
		var head Request
		n, err := head.ParseHead(p.b, DefaultHeadLimits)
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		p.r = head.Clone()
		p.take(n)
	}
	if !p.r.Chunked {
		size := int(min(p.r.ContentLength-int64(len(p.r.Body)), int64(len(p.b))))
		p.r.Body = append(p.r.Body, p.b[:size]...)
		p.take(size)
		p.done = int64(len(p.r.Body)) == p.r.ContentLength
		return nil
	}
	for !p.done && len(p.b) > 0 {
		data, n, done, err := p.chunks.Consume(p.b)
		if err != nil {
			return err
		}
		p.r.Body = append(p.r.Body, data...)
		p.take(n)
		p.done = done
	}
	return nil
}

func (p *requestParser) take(n int) {
	p.b = p.b[n:]
	p.n += n
}
