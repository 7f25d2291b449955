package feed

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"time"

	"github.com/rocketmq-connect/operator/worker/rest/restclient"
)

// Dial makes the client of a cluster's REST API.
func Dial(to Target) Workers {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(to.Authorities))
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		MaxIdleConnsPerHost: 4, IdleConnTimeout: 90 * time.Second, ResponseHeaderTimeout: 30 * time.Second,
	}
	if to.Pod != "" { // called by the Service's name, which its certificate has
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, to.Pod)
		}
	}
	return restclient.New(to.Address, to.Token, &http.Client{Transport: transport})
}
