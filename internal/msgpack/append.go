package msgpack

import (
	"encoding/binary"
	"math"
)

// Strings, binary, arrays and maps must be smaller than 4 GiB or items.

// AppendString appends a string.
func AppendString[S ~string | ~[]byte](dst []byte, s S) []byte {
	return append(appendStringHead(dst, len(s)), s...)
}

func appendStringHead(dst []byte, n int) []byte {
	switch {
	case n < 32:
		return append(dst, 0xa0|byte(n))
	case n < 1<<8:
		return append(dst, 0xd9, byte(n))
	}
	return appendLength(dst, 0xda, n)
}

// AppendBinary appends bytes.
func AppendBinary(dst, b []byte) []byte {
	if n := len(b); n < 1<<8 {
		dst = append(dst, 0xc4, byte(n))
	} else {
		dst = appendLength(dst, 0xc5, n)
	}
	return append(dst, b...)
}

// AppendArrayHead appends the head of an array; n values must follow.
func AppendArrayHead(dst []byte, n int) []byte {
	if n < 16 {
		return append(dst, 0x90|byte(n))
	}
	return appendLength(dst, 0xdc, n)
}

// AppendMapHead appends the head of a map; n pairs of a key and a value must follow.
func AppendMapHead(dst []byte, n int) []byte {
	if n < 16 {
		return append(dst, 0x80|byte(n))
	}
	return appendLength(dst, 0xde, n)
}

// appendLength appends a head whose length has two bytes, or, with the next code,
// four.
func appendLength(dst []byte, code byte, n int) []byte {
	if n < 1<<16 {
		return binary.BigEndian.AppendUint16(append(dst, code), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, code+1), uint32(n))
}

// AppendExt appends an extension.
func AppendExt(dst []byte, ext int8, body []byte) []byte {
	switch n := len(body); {
	case n == 1:
		dst = append(dst, 0xd4)
	case n == 2:
		dst = append(dst, 0xd5)
	case n == 4:
		dst = append(dst, 0xd6)
	case n == 8:
		dst = append(dst, 0xd7)
	case n == 16:
		dst = append(dst, 0xd8)
	case n < 1<<8:
		dst = append(dst, 0xc7, byte(n))
	default:
		dst = appendLength(dst, 0xc8, n)
	}
	return append(append(dst, byte(ext)), body...)
}

// AppendUint appends a number in its shortest form.
func AppendUint(dst []byte, n uint64) []byte {
	switch {
	case n < 1<<7:
		return append(dst, byte(n))
	case n < 1<<8:
		return append(dst, 0xcc, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, 0xcd), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(dst, 0xce), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xcf), n)
}

// AppendInt appends a number in its shortest form.
func AppendInt(dst []byte, n int64) []byte {
	switch {
	case n >= 0:
		return AppendUint(dst, uint64(n))
	case n >= -1<<5:
		return append(dst, byte(n))
	case n >= -1<<7:
		return append(dst, 0xd0, byte(n))
	case n >= -1<<15:
		return binary.BigEndian.AppendUint16(append(dst, 0xd1), uint16(n))
	case n >= -1<<31:
		return binary.BigEndian.AppendUint32(append(dst, 0xd2), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xd3), uint64(n))
}

// AppendFloat appends a floating-point number of 64 bits.
func AppendFloat(dst []byte, f float64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, 0xcb), math.Float64bits(f))
}

// AppendBool appends a boolean.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 0xc3)
	}
	return append(dst, 0xc2)
}

// AppendNil appends nil.
func AppendNil(dst []byte) []byte { return append(dst, 0xc0) }
