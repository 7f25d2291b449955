package feed

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/controllers/certs"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

const host = "demo-api.test.svc"

// issue makes the certificate of a cluster's workers.
func issue(t *testing.T, at time.Time) (certs.Issued, tls.Certificate) {
	t.Helper()
	var keys certs.Keys
	var errs [4]error
	keys.Authority, errs[0] = certs.NewKey()
	keys.Workers, errs[1] = certs.NewKey()
	issued, err := certs.Issue(keys, certs.Issued{}, []string{host}, at)
	errs[2] = err
	pair, err := tls.X509KeyPair([]byte(issued.Certificate), keys.Workers)
	errs[3] = err
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	return issued, pair
}

// worker answers every Put, and nothing else. It returns its host:port.
func worker(t *testing.T, with *tls.Certificate) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.Host, host) || r.Header.Get("Authorization") != "Bearer t" {
			t.Errorf("called as %s with %s", r.Host, r.Header.Get("Authorization"))
		}
		_, _ = fmt.Fprint(w, `{"revision":7}`)
	}))
	s.Config.ErrorLog = nil
	if with == nil {
		s.Start()
	} else {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{*with}}
		s.StartTLS()
	}
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.Listener.Addr().String()
}

func TestWorkersAreCalledWhereTheTargetSays(t *testing.T) {
	issued, pair := issue(t, time.Now())
	other, _ := issue(t, time.Now())
	ended, old := issue(t, time.Now().Add(-200*24*time.Hour))
	secured, plain, stale := worker(t, &pair), worker(t, nil), worker(t, &old)
	cases := map[string]struct {
		to   Target
		want string // of Cause; empty: answered
	}{
		"a worker with TLS, by the Service's name": {
			Target{Address: "https://" + host + ":8082", Authorities: issued.Authorities, Pod: secured},
			"",
		},
		"a worker without": {
			Target{Address: "http://" + host + ":8082", Authorities: issued.Authorities, Pod: plain},
			"",
		},
		"another cluster's authority": {
			Target{Address: "https://" + host, Authorities: other.Authorities, Pod: secured},
			"their certificate is not trusted: x509: certificate signed by unknown authority",
		},
		"no authority": {Target{Address: "https://" + host, Pod: secured}, "their certificate is not trusted: "},
		"another name": {
			Target{Address: "https://other-api.test.svc", Authorities: issued.Authorities, Pod: secured},
			"their certificate is not trusted: ",
		},
		"a certificate that has ended": {
			Target{Address: "https://" + host, Authorities: ended.Authorities, Pod: stale},
			"their certificate has ended",
		},
		"TLS where there is none": {
			Target{Address: "https://" + host, Authorities: issued.Authorities, Pod: plain},
			"they speak plain HTTP where TLS is asked for",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			tc.to.Token = "t"
			got, err := Dial(tc.to).Put(ctx, restapi.Connector{Name: "orders"}, 0)
			if tc.want == "" {
				if err != nil || got.Revision != 7 {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			if err == nil || !strings.HasPrefix(Cause(err), tc.want) || strings.Contains(Cause(err), time.Now().UTC().Format("2006")) {
				t.Errorf("got %v: %q, want %q", err, Cause(err), tc.want)
			}
		})
	}
}
