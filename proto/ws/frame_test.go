package ws

import (
	"bytes"
	"math"
	"testing"

	gobwas "github.com/gobwas/ws"
)

// TestFrameHeaderSent: RFC 6455 section 5.1, "A server MUST NOT mask any frames
// that it sends"; section 5.2, "the minimal number of bytes MUST be used to
// encode the length" and RSV bits "MUST be 0"; section 5.5, control frames "MUST
// NOT be fragmented".
func TestFrameHeaderSent(t *testing.T) {
	for _, op := range []gobwas.OpCode{OpText, OpBinary, OpClose, OpPing, OpPong} {
		for _, length := range []int{0, 1, 125, 126, 127, 65535, 65536, math.MaxInt32, math.MaxInt} {
			var want bytes.Buffer
			if err := gobwas.WriteHeader(&want, gobwas.Header{Fin: true, OpCode: op, Length: int64(length)}); err != nil {
				t.Fatal(err)
			}
			got := AppendFrameHeader([]byte("x"), op, length)
			if string(got) != "x"+want.String() {
				t.Errorf("opcode %d, %d bytes: % x, want % x", op, length, got[1:], want.Bytes())
			}
			if len(got)-1 > FrameHeadroom {
				t.Errorf("%d bytes of header do not fit FrameHeadroom", len(got)-1)
			}
		}
	}
}

func TestPutFrameHeader(t *testing.T) {
	for _, binary := range []bool{false, true} {
		for _, length := range []int{0, 1, 125, 126, 65535, 65536} {
			op := OpText
			if binary {
				op = OpBinary
			}
			for _, from := range []int{FrameHeadroom, FrameHeadroom + 3} {
				b := bytes.Repeat([]byte{0xee}, from+length)
				start := PutFrameHeader(b, from, binary)
				want := AppendFrameHeader(nil, op, length)
				if !bytes.Equal(b[start:from], want) {
					t.Errorf("%d bytes: % x, want % x", length, b[start:from], want)
				}
				if i := bytes.IndexFunc(b[:start], func(r rune) bool { return r != '\ufffd' }); i >= 0 {
					t.Errorf("%d bytes: the room in front of the header was written to", length)
				}
			}
		}
	}
}

// TestConsumeFrameHeader compares with gobwas.ReadHeader, for every first and second
// byte; a part of a header gives nothing, or what the whole gives.
func TestConsumeFrameHeader(t *testing.T) {
	for first := range 256 {
		for second := range 256 {
			b := []byte{byte(first), byte(second)}
			switch second & 0x7f {
			case 126:
				b = append(b, 0x01, 0x00)
			case 127:
				b = append(b, 0, 0, 0, 0, 0, 1, 0, 0)
			}
			b = append(b, "MASKpayload"...)
			want, readErr := gobwas.ReadHeader(bytes.NewReader(b))
			if readErr != nil {
				t.Fatal(readErr)
			}
			for _, state := range []gobwas.State{betweenMessages, betweenFrames} {
				h, n, err := consumeFrameHeader(b, state)
				checkErr := gobwas.CheckHeader(want, state)
				switch {
				case (err == nil) != (checkErr == nil):
					t.Fatalf("% x: %v, gobwas: %v", b, err, checkErr)
				case err != nil && (err.Code != 1002 || err.Reason != checkErr.Error()):
					t.Fatalf("% x: %v, gobwas: %v", b, err, checkErr)
				case err == nil && (h != want || n != len(b)-len("payload")):
					t.Fatalf("% x: %+v, %d bytes, gobwas: %+v", b, h, n, want)
				}
				for i := range b {
					partial, k, partErr := consumeFrameHeader(b[:i:i], state)
					if k == 0 && partErr == nil {
						if i >= 2 && (err != nil || i >= n) {
							t.Fatalf("the first %d bytes of % x are not enough: want %d bytes, %v", i, b, n, err)
						}
						continue
					}
					if partial != h || k != n || (partErr == nil) != (err == nil) || (err != nil && *partErr != *err) {
						t.Fatalf("the first %d bytes of % x: %+v, %d, %v; want %+v, %d, %v", i, b, partial, k, partErr, h, n, err)
					}
				}
			}
		}
	}
}

// TestCipher: RFC 6455 section 5.3, octet i of the payload is masked with octet
// i modulo 4 of the key, at every offset and size about the blocks of gobwas.Cipher.
func TestCipher(t *testing.T) {
	mask := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	for size := range 200 {
		for offset := range 8 {
			for align := range 4 {
				b := make([]byte, align+size+1)
				for i := range b {
					b[i] = byte(i * 7)
				}
				want := bytes.Clone(b)
				for i := range size {
					want[align+i] ^= mask[(offset+i)%4]
				}
				gobwas.Cipher(b[align:align+size], mask, offset)
				if !bytes.Equal(b, want) {
					t.Fatalf("%d bytes at offset %d, %d into memory: % x, want % x", size, offset, align, b, want)
				}
			}
		}
	}
}
