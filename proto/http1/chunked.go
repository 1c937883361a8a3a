package http1

const (
	maxChunkBytes      = 1<<31 - 1 // of one chunk
	maxChunkSizeDigits = 16        // leading zeros included
	maxExtensionBytes  = 4 << 10   // of a body's chunk extensions together
	maxTrailerBytes    = 8 << 10   // of a body's trailer section
)

var (
	errChunkSize      = &Error{400, "a chunk size is malformed"}
	errChunkTooLarge  = &Error{413, "a chunk is too large"}
	errChunkExtension = &Error{400, "a chunk extension is malformed"}
	errExtensionLong  = &Error{400, "the chunk extensions are too long"}
	errChunkEnd       = &Error{400, "a chunk does not end in CRLF"}
	errTrailer        = &Error{400, "the trailer section is malformed"}
	errTrailerLong    = &Error{431, "the trailer section is too large"}
)

// ChunkedReader decodes the chunked transfer coding (RFC 9112 section 7.1). The
// zero value stands at the beginning of a body. Extensions and trailers are
// checked and thrown away.
type ChunkedReader struct {
	remaining int64 // of the chunk, or its size as far as it was read
	extension int   // bytes of extensions so far
	trailer   int   // bytes of the trailer section so far
	state     chunkState
	digits    uint8
}

type chunkState uint8

const (
	chunkSize        chunkState = iota // in 1*HEXDIG
	chunkSizeBWS                       // after it: only an extension may follow
	chunkExtStart                      // after ";"
	chunkExtName                       // in a name
	chunkExtNameBWS                    // after a name
	chunkExtValStart                   // after "="
	chunkExtToken                      // in a token value
	chunkExtQuoted                     // in a quoted-string
	chunkExtPair                       // after "\" in it
	chunkExtEnd                        // after a quoted-string
	chunkExtEndBWS                     // after white space: only an extension may follow
	chunkSizeLF                        // after the CR of a size line
	chunkData
	chunkDataCR
	chunkDataLF
	trailerStart // at the beginning of a trailer line
	trailerName
	trailerValue
	trailerLF // after the CR of a field line
	chunkedLF // after the CR of the last line
	chunkedDone
)

// Consume decodes what comes next in b. data is a view of the next piece of
// content in b, perhaps empty; n is how much of b has been used, and is above 0
// unless b is empty; done tells that the body is complete. The caller goes on
// with b[n:], and after an error not at all.
func (c *ChunkedReader) Consume(b []byte) (data []byte, n int, done bool, err *Error) {
	for n < len(b) && c.state != chunkedDone {
		if c.state == chunkData {
			size := int(min(c.remaining, int64(len(b)-n)))
			c.remaining -= int64(size)
			if c.remaining == 0 {
				c.state = chunkDataCR
			}
			return b[n : n+size : n+size], n + size, false, nil
		}
		if err := c.step(b[n]); err != nil {
			return nil, n, false, err
		}
		n++
	}
	return nil, n, c.state == chunkedDone, nil
}

// step takes one byte of what is not content.
func (c *ChunkedReader) step(b byte) *Error {
	switch {
	case c.state <= chunkSizeLF:
		return c.stepSize(b)
	case c.state == chunkDataCR:
		if b != '\r' {
			return errChunkEnd
		}
		c.state = chunkDataLF
		return nil
	case c.state == chunkDataLF:
		if b != '\n' {
			return errChunkEnd
		}
		c.state, c.digits = chunkSize, 0
		return nil
	}
	return c.stepTrailer(b)
}

// stepSize takes one byte of chunk-size [ chunk-ext ] CRLF (sections 7.1 and
// 7.1.1).
func (c *ChunkedReader) stepSize(b byte) *Error {
	class := charClass[b]
	if c.state > chunkSize && c.state < chunkSizeLF {
		if c.extension++; c.extension > maxExtensionBytes {
			return errExtensionLong
		}
	}
	blank := b == ' ' || b == '\t'
	switch c.state {
	case chunkSize:
		switch {
		case class&isHex != 0:
			c.remaining = c.remaining<<4 | int64(hexValue(b))
			if c.digits++; c.digits > maxChunkSizeDigits {
				return errChunkSize
			}
			if c.remaining > maxChunkBytes {
				return errChunkTooLarge
			}
		case c.digits == 0:
			return errChunkSize
		case blank:
			c.state = chunkSizeBWS
		default:
			return c.endExtension(b, errChunkSize)
		}
	case chunkSizeBWS:
		switch {
		case b == ';':
			c.state = chunkExtStart
		case !blank:
			return errChunkSize
		}
	case chunkExtStart, chunkExtName:
		switch {
		case class&isToken != 0:
			c.state = chunkExtName
		case c.state == chunkExtStart && blank:
		case c.state == chunkExtStart:
			return errChunkExtension
		case blank:
			c.state = chunkExtNameBWS
		case b == '=':
			c.state = chunkExtValStart
		default:
			return c.endExtension(b, errChunkExtension)
		}
	case chunkExtNameBWS:
		switch {
		case b == '=':
			c.state = chunkExtValStart
		case b == ';':
			c.state = chunkExtStart
		case !blank:
			return errChunkExtension
		}
	case chunkExtValStart:
		switch {
		case class&isToken != 0:
			c.state = chunkExtToken
		case b == '"':
			c.state = chunkExtQuoted
		case !blank:
			return errChunkExtension
		}
	case chunkExtToken, chunkExtEnd:
		switch {
		case c.state == chunkExtToken && class&isToken != 0:
		case blank:
			c.state = chunkExtEndBWS
		default:
			return c.endExtension(b, errChunkExtension)
		}
	case chunkExtEndBWS:
		switch {
		case b == ';':
			c.state = chunkExtStart
		case !blank:
			return errChunkExtension
		}
	case chunkExtQuoted:
		switch {
		case b == '"':
			c.state = chunkExtEnd
		case b == '\\':
			c.state = chunkExtPair
		case class&inValue == 0:
			return errChunkExtension
		}
	case chunkExtPair:
		if class&inValue == 0 {
			return errChunkExtension
		}
		c.state = chunkExtQuoted
	case chunkSizeLF:
		switch {
		case b != '\n':
			return errChunkEnd
		case c.remaining > 0:
			c.state = chunkData
		default:
			c.state = trailerStart
		}
	}
	return nil
}

// endExtension ends a size, name or value that must be followed by another
// extension or the end of the line.
func (c *ChunkedReader) endExtension(b byte, otherwise *Error) *Error {
	switch b {
	case ';':
		c.state = chunkExtStart
	case '\r':
		c.state = chunkSizeLF
	default:
		return otherwise
	}
	return nil
}

// stepTrailer takes one byte of *( field-line CRLF ) CRLF (section 7.1.2).
func (c *ChunkedReader) stepTrailer(b byte) *Error {
	if c.trailer++; c.trailer > maxTrailerBytes {
		return errTrailerLong
	}
	class := charClass[b]
	switch c.state {
	case trailerStart:
		switch {
		case b == '\r':
			c.state = chunkedLF
		case class&isToken != 0:
			c.state = trailerName
		default:
			return errTrailer
		}
	case trailerName:
		switch {
		case b == ':':
			c.state = trailerValue
		case class&isToken == 0:
			return errTrailer
		}
	case trailerValue:
		switch {
		case b == '\r':
			c.state = trailerLF
		case class&inValue == 0:
			return errTrailer
		}
	case trailerLF, chunkedLF:
		switch {
		case b != '\n':
			return errTrailer
		case c.state == trailerLF:
			c.state = trailerStart
		default:
			c.state = chunkedDone
		}
	}
	return nil
}

func hexValue(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
