//go:build !unix

package fdpass

import "os"

func oobSpace() int { return 0 }

// Pair returns ErrUnsupported on this platform.
func Pair() (a, b *os.File, err error) { return nil, nil, ErrUnsupported }

func (c *Conn) receive([]byte) (int, []int, bool, error) { return 0, nil, false, ErrUnsupported }

func (c *Conn) send([]byte, []int) (int, error) { return 0, ErrUnsupported }

func closeAll([]int) {}
