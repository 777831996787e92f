package deflate_test

import (
	"fmt"
	"strings"

	"github.com/expedite-go/expedite/ws"
	"github.com/expedite-go/expedite/ws/deflate"
)

// A server chooses from the offer of a client, and compresses a message with what it has sent before as the dictionary.
func Example_server() {
	request := &ws.Request{Header: []ws.Field{
		{Name: "Sec-WebSocket-Extensions", Value: "permessage-deflate; client_max_window_bits"},
	}}
	cfg := deflate.Config{Takeover: true, ServerMaxWindowBits: 13, ClientMaxWindowBits: 13}
	agreed, answer, ok := cfg.Accept(request.Values("Sec-WebSocket-Extensions"))
	if !ok {
		return // without compression
	}
	fmt.Println(answer) // for ws.Handshake.Extensions

	var codec deflate.Codec   // for all connections
	var window deflate.Window // of one connection, for what it sends
	for _, message := range []string{
		`{"from":"alice","text":"hello"}`,
		`{"from":"alice","text":"hello again"}`,
	} {
		bits := agreed.ServerMaxWindowBits
		payload := codec.Compress(nil, []byte(message), window.Bytes(), bits)
		window.Append([]byte(message), 1<<bits)
		const rsv1 = 0x40 // RFC 7692 §6
		frame := ws.AppendFrame(nil, ws.OpText|rsv1, payload)
		fmt.Println(len(message), "bytes, shorter:", len(payload) < len(message), "first byte:", frame[0] == 0xc1)
	}
	// Output:
	// permessage-deflate; server_max_window_bits=13; client_max_window_bits=13
	// 31 bytes, shorter: false first byte: true
	// 37 bytes, shorter: true first byte: true
}

// A client sends an offer, checks the answer, and decompresses a message up to a limit.
func Example_client() {
	cfg := deflate.Config{}
	fmt.Println(cfg.Offer()) // for ws.ClientRequest.Extensions

	answer := "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	agreed, ok, err := cfg.Agreed(answer) // of the Handshake that ParseResponse returns
	if err != nil || !ok {
		fmt.Println(err)
		return
	}
	fmt.Println(agreed.ServerNoContextTakeover, agreed.ServerMaxWindowBits)

	var codec deflate.Codec
	payload := codec.Compress(nil, []byte(strings.Repeat("hello ", 1000)), nil, agreed.ServerMaxWindowBits)
	message, err := codec.Decompress(nil, payload, nil, 1<<20)
	fmt.Printf("%d %.11q %v\n", len(message), message, err)
	_, err = codec.Decompress(nil, payload, nil, 1000)
	fmt.Println(err)

	_, _, err = cfg.Agreed("permessage-deflate")
	fmt.Println(err)
	// Output:
	// permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits
	// true 15
	// 6000 "hello hello" <nil>
	// deflate: message is larger than the limit
	// deflate: the server does not answer server_no_context_takeover
}
