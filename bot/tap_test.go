package bot

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

const switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"

// frame builds what a server sends: opcode 1 is text, 9 a ping.
func frame(opcode byte, payload string) string {
	head := []byte{0x80 | opcode}
	switch n := len(payload); {
	case n < 126:
		head = append(head, byte(n))
	case n < 1<<16:
		head = binary.BigEndian.AppendUint16(append(head, 126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 127), uint64(n))
	}
	return string(head) + payload
}

const refresh = `{"type":"disconnect","reason":"refresh_requested","debug_info":{"host":"applink-1"}}`

func TestTap(t *testing.T) {
	t.Parallel()
	stream := switching +
		frame(1, `{"type":"hello","num_connections":1}`) +
		frame(9, "Ping from applink") +
		frame(1, `{"type":"slash_commands","payload":{"text":"disconnect"}}`) +
		frame(1, strings.Repeat("x", 300)) +
		frame(1, `{"type":"events_api","payload":"`+strings.Repeat(`"disconnect"`, 10_000)+`"}`) +
		frame(1, refresh) +
		frame(1, strings.Repeat("y", tapLimit+1)) +
		frame(1, `{"type":"disconnect","reason":"link_disabled"}`)
	want := []string{"refresh_requested", "link_disabled"}
	for _, size := range []int{1, 2, 7, 100, 4096, len(stream)} {
		var got []string
		tap := tap{disconnected: func(reason string) { got = append(got, reason) }}
		for p := range slices.Chunk([]byte(stream), size) {
			tap.see(p)
		}
		if !slices.Equal(got, want) {
			t.Errorf("read in pieces of %d: saw %q, want %q", size, got, want)
		}
	}
}

// Whatever comes, the tap neither fails nor grows, and how the bytes are cut
// into reads makes no difference.
func FuzzTap(f *testing.F) {
	f.Add([]byte(switching+frame(1, refresh)), 3)
	f.Add([]byte(switching+frame(1, strings.Repeat("x", 70_000))+frame(1, refresh)), 1000)
	f.Add([]byte(switching+"\x81\xff\x00"), 1)
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n"), 5)
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		if size < 1 {
			size = 1
		}
		var whole, pieces []string
		one := tap{disconnected: func(reason string) { whole = append(whole, reason) }}
		one.see(data)
		many := tap{disconnected: func(reason string) { pieces = append(pieces, reason) }}
		for p := range slices.Chunk(data, size) {
			many.see(p)
			if len(many.buf) > 64<<10+size {
				t.Fatalf("holds %d bytes", len(many.buf))
			}
		}
		if !slices.Equal(whole, pieces) {
			t.Errorf("saw %q at once, %q in pieces of %d", whole, pieces, size)
		}
	})
}
