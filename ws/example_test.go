package ws_test

import (
	"fmt"

	"github.com/expedite-go/expedite/ws"
)

// A server parses a request, answers it, and parses the frames that follow.
func Example_server() {
	in := []byte("GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n" +
		"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58")
	end := ws.HeadEnd(in, 0)
	request, err := ws.ParseRequest(in[:end])
	if err != nil {
		fmt.Println(err)
		return
	}
	handshake, err := request.Negotiate(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	out, _ := ws.AppendResponse(nil, handshake)
	fmt.Printf("%.32s\n", out)

	var reader ws.Reader
	cfg := &ws.ReaderConfig{Role: ws.Server}
	for rest := in[end:]; len(rest) > 0; {
		var event ws.Event
		event, rest, err = reader.Next(rest, cfg)
		if err != nil {
			fmt.Println(err)
			return
		}
		if event.Kind == ws.KindData {
			answer := ws.AppendFrame(nil, event.Opcode, event.Data)
			fmt.Printf("%v %s, answered by % x\n", event.Opcode, event.Data, answer)
		}
	}
	// Output:
	// HTTP/1.1 101 Switching Protocols
	// text Hello, answered by 81 05 48 65 6c 6c 6f
}

// A client asks for a WebSocket, checks the answer, and sends a masked frame. Its key and mask would come from
// crypto/rand.
func Example_client() {
	client := ws.ClientRequest{Host: "server.example.com", Target: "/chat", Subprotocols: []string{"chat"}}
	copy(client.Key[:], "the sample nonce")
	out, err := client.AppendRequest(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.18s\n", out)

	in := []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n")
	answer, err := client.ParseResponse(in[:ws.HeadEnd(in, 0)])
	fmt.Println(answer.Subprotocol, err)
	fmt.Printf("% x\n", ws.AppendMaskedFrame(nil, ws.OpText, 0x3d21fa37, []byte("Hello")))
	// Output:
	// GET /chat HTTP/1.1
	// chat <nil>
	// 81 85 37 fa 21 3d 7f 9f 4d 51 58
}

// A Reader stops between two bytes, and another one continues.
func ExampleReader_AppendState() {
	stream := ws.AppendMaskedFrame(nil, ws.OpText, 0x3d21fa37, []byte("Grüße"))
	cfg := &ws.ReaderConfig{}
	var before ws.Reader
	event, _, _ := before.Next(stream[:9], cfg) // within the ü
	fmt.Printf("%q\n", event.Data)

	var after ws.Reader
	if err := after.LoadState(before.AppendState(nil)); err != nil {
		fmt.Println(err)
		return
	}
	event, _, err := after.Next(stream[9:], cfg)
	fmt.Printf("%q %v %v\n", event.Data, event.Last, err)
	// Output:
	// "Gr\xc3"
	// "\xbcße" true <nil>
}
