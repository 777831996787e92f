//go:build unix

package redistest

import "syscall"

// Stop stops the process of the server, so that it is silent, until Continue or its end.
func (s *Server) Stop() { s.signal(syscall.SIGSTOP) }

// Continue continues the process of the server.
func (s *Server) Continue() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}
