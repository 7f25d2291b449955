package broker

import (
	"crypto/tls"
	"net"
	"os"
	"testing"
)

func TestCertificatesAreMadeOnceAndGoTogether(t *testing.T) {
	s := testSet(t, 20000, Single)
	s.TLS = TLSMutual
	if err := s.ensureTLS(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(s.TLSFile("client.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ensureTLS(); err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile(s.TLSFile("client.key")); err != nil || string(again) != string(before) {
		t.Errorf("the certificates are recreated (%v)", err)
	}
	client, err := s.clientTLS()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(s.TLSFile("server.pem"), s.TLSFile("server.key"))
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	server := tls.Server(
		theirs,
		&tls.Config{
			MinVersion:   tls.VersionTLS12,
			Certificates: []tls.Certificate{pair},
			ClientAuth:   tls.RequireAndVerifyClientCert,
			ClientCAs:    client.RootCAs,
		},
	)
	served := make(chan error, 1)
	go func() { served <- server.Handshake() }()
	if err := tls.Client(ours, client).Handshake(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
