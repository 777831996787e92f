package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// subscribeAtOnce is the number of topics of a command, as in redisplane.
const subscribeAtOnce = 1000

// redisAlone measures what a publication costs Redis by the number of machines that listen to its topic, and what a
// subscription takes there: the constants of docs/scale-out.md.
func (m *machines) redisAlone() error {
	fmt.Printf("\n6: Redis alone, %d B, publications in batches of 100\n", messageLen)
	const topic = "expedite:0:00000000"
	command := resp("PUBLISH", topic, strings.Repeat("x", messageLen))
	var listeners []net.Conn
	defer func() {
		for _, c := range listeners {
			_ = c.Close()
		}
	}()
	for _, n := range []int{0, 1, 10, 100} {
		for len(listeners) < n {
			c, err := m.dialRedis(resp("SUBSCRIBE", topic))
			if err != nil {
				return err
			}
			listeners = append(listeners, c)
			go func() { _, _ = io.Copy(io.Discard, c) }() // ends with the connection
		}
		least := 0.0
		for range 3 {
			used, err := m.publishAlone(command, min(20_000, 200_000/(n+1)))
			if err != nil {
				return err
			}
			if least == 0 || used < least {
				least = used
			}
		}
		fmt.Printf("  %3d machines listen: %7.2f us per publication\n", n, least)
	}
	const topics = 100_000
	before := m.info("memory", "used_memory")
	c, err := m.dialRedis(nil)
	if err != nil {
		return err
	}
	defer c.Close()
	go func() { _, _ = io.Copy(io.Discard, c) }() // ends with the connection
	busy, _ := processCPU(m.redis.PID())
	for i := 0; i < topics; i += subscribeAtOnce {
		args := []string{"SUBSCRIBE"}
		for k := range subscribeAtOnce {
			args = append(args, "expedite:0:"+topicName(i+k+1))
		}
		if _, err := c.Write(resp(args...)); err != nil {
			return err
		}
	}
	if err := m.awaitChannels(dialect{}, topics); err != nil {
		return err
	}
	done, _ := processCPU(m.redis.PID())
	time.Sleep(100 * time.Millisecond) // its buffers are empty
	fmt.Printf("  %.0f bytes per subscription, %.2f us\n", float64(m.info("memory", "used_memory")-before)/topics,
		micro(done-busy)/topics)
	return nil
}

// publishAlone returns the microseconds of CPU per publication.
func (m *machines) publishAlone(command []byte, n int) (float64, error) {
	const batch = 100
	c, err := m.dialRedis(nil)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	list, buf := bytes.Repeat(command, batch), make([]byte, 64<<10)
	before, _ := processCPU(m.redis.PID())
	for sent := 0; sent < n; sent += batch {
		if _, err := c.Write(list); err != nil {
			return 0, err
		}
		for answers := 0; answers < batch; {
			k, err := c.Read(buf)
			if err != nil {
				return 0, err
			}
			answers += bytes.Count(buf[:k], []byte("\n"))
		}
	}
	after, _ := processCPU(m.redis.PID())
	return micro(after-before) / float64(n), nil
}

// dialRedis connects to Redis and sends a command.
func (m *machines) dialRedis(command []byte) (net.Conn, error) {
	c, err := net.Dial("tcp", m.redis.Addr())
	if err != nil {
		return nil, err
	}
	_, err = c.Write(command)
	return c, err
}

// resp encodes a command.
func resp(args ...string) []byte {
	b := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, arg := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return b
}
