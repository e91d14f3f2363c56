package web

import "crypto/tls"

// WithTLS makes a server of a test use TLS.
func WithTLS(s *Server, c *tls.Config) *Server {
	s.o.TLS = c
	return s
}
