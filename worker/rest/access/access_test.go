package access

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const browser = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"

// request is a GET of a host by a caller; header lines are "Name: value".
func request(host, remote string, header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/connectors/all/remove", nil)
	r.Host, r.RemoteAddr = host, remote
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	return r
}

func TestNamesOfTheWorker(t *testing.T) {
	g := &Guard{Open: true, Names: []string{"Connect-1.example.com", "*.svc.test", "demo-api", ""}}
	cases := map[string]struct {
		host string
		want bool
	}{
		"a loopback address":                    {"127.0.0.1:8082", true},
		"a loopback address without port":       {"127.0.0.1", true},
		"any of the loopback net":               {"127.0.0.2:8082", true},
		"the loopback address of IPv6":          {"[::1]:8082", true},
		"the same without port":                 {"[::1]", true},
		"an address inside IPv6":                {"[::ffff:127.0.0.1]:8082", true},
		"an address of a network":               {"192.168.1.115:8082", true},
		"localhost":                             {"localhost:8082", true},
		"localhost in capitals":                 {"LOCALHOST", true},
		"localhost with its root":               {"localhost.:8082", true},
		"a name below localhost":                {"worker.localhost:8082", true},
		"a name that was given":                 {"connect-1.example.com:8082", true},
		"a short name that was given":           {"demo-api:8082", true},
		"a name below one that was given":       {"demo-worker-0.demo-worker.ns.svc.test:8082", true},
		"what a name is below":                  {"svc.test", false},
		"a name that only ends alike":           {"evilsvc.test", false},
		"a name that begins with a right one":   {"localhost.evil.example:8082", false},
		"a name that a page was loaded by":      {"evil.example:8082", false},
		"an address that is a name":             {"127.0.0.1.evil.example", false},
		"no name":                               {"", false},
		"no name but a port":                    {":8082", false},
		"the address of no machine":             {"0.0.0.0:8082", false},
		"the address of no machine, IPv6":       {"[::]:8082", false},
		"the address of no machine inside IPv6": {"[::ffff:0.0.0.0]:8082", false},
		"two ports":                             {"localhost:1:2", false},
		"a user":                                {"localhost@evil.example", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := g.Check(request(tc.host, "10.0.0.9:40000"), time.Time{})
			if (got == nil) != tc.want ||
				got != nil && (got.Status != 403 || got.Reason != ReasonHost || !strings.Contains(got.Detail, "httpHostNames")) {
				t.Errorf("got %+v, want it answered: %v", got, tc.want)
			}
		})
	}
}

func TestCallersOnThisMachine(t *testing.T) {
	cases := map[string]struct {
		remote, called string
		header         []string
		want           bool
	}{
		"by loopback":                              {"127.0.0.1:40000", "127.0.0.1:8082", nil, true},
		"by another address of the loopback net":   {"127.8.9.10:40000", "127.0.0.1:8082", nil, true},
		"by the loopback address of IPv6":          {"[::1]:40000", "[::1]:8082", nil, true},
		"by loopback inside IPv6":                  {"[::ffff:127.0.0.1]:40000", "[::ffff:127.0.0.1]:8082", nil, true},
		"by the machine's own address":             {"192.168.1.115:40000", "192.168.1.115:8082", nil, true},
		"by the machine's own address inside IPv6": {"192.168.1.115:40000", "[::ffff:192.168.1.115]:8082", nil, true},
		"by the machine's own address of one link": {"[fe80::1%eth0]:40000", "[fe80::1%eth0]:8082", nil, true},
		"from the network":                         {"192.168.1.9:40000", "192.168.1.115:8082", nil, false},
		"from the network inside IPv6":             {"[::ffff:192.168.1.9]:40000", "[::ffff:192.168.1.115]:8082", nil, false},
		"from the network to an unknown address":   {"192.168.1.9:40000", "", nil, false},
		"from no address":                          {"@", "", nil, false},
		"from the address of no machine":           {"0.0.0.0:1", "0.0.0.0:8082", nil, false},
		"by a proxy on this machine for somebody":  {"127.0.0.1:40000", "127.0.0.1:8082", []string{"X-Forwarded-For: 192.168.1.9"}, false},
		"by such a proxy, as the standard has it":  {"127.0.0.1:40000", "127.0.0.1:8082", []string{"Forwarded: for=192.168.1.9"}, false},
		"by a proxy that adds a line of its own": {
			"127.0.0.1:40000",
			"127.0.0.1:8082",
			[]string{"X-Forwarded-For: ", "X-Forwarded-For: 192.168.1.9"},
			false,
		},
		"by a proxy that says only which it is":      {"127.0.0.1:40000", "127.0.0.1:8082", []string{"Via: 1.1 proxy"}, false},
		"from the network, said to be local by name": {"192.168.1.9:40000", "192.168.1.115:8082", []string{"X-Forwarded-For: 127.0.0.1"}, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := request("localhost", tc.remote, tc.header...)
			if tc.called != "" {
				local, err := net.ResolveTCPAddr("tcp", tc.called)
				if err != nil && !strings.Contains(tc.called, "%") {
					t.Fatal(err)
				}
				if err != nil { // no such link here
					local = &net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0", Port: 8082}
				}
				r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(local)))
			}
			if got := OnThisMachine(r); got != tc.want {
				t.Errorf("got %v", got)
			}
			refusal := (&Guard{}).Check(r, time.Time{})
			told := refusal != nil && refusal.Status == 403 && refusal.Reason == ReasonRemote &&
				strings.Contains(refusal.Detail, "restTokenFile") && strings.Contains(refusal.Detail, "httpHost")
			if (refusal == nil) != tc.want || !tc.want && !told {
				t.Errorf("without a token: %+v", refusal)
			}
			if refusal := (&Guard{Open: true}).Check(r, time.Time{}); refusal != nil {
				t.Errorf("with httpHost: %+v", refusal)
			}
		})
	}
}

// What browsers send, and curl. unclear: a GET that changes something is refused all the same.
func TestPagesOfOtherOrigins(t *testing.T) {
	ua := "User-Agent: " + browser
	cases := map[string]struct {
		host          string
		header        []string
		want, unclear bool
	}{
		"curl":                                 {"192.168.1.115:8082", []string{"User-Agent: curl/8.14.1", "Accept: */*"}, true, false},
		"a client that says nothing of itself": {"192.168.1.115:8082", nil, true, false},
		"an address typed into a browser": {
			"127.0.0.1:8082",
			[]string{ua, "Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate"},
			true,
			false,
		},
		"an address that a browser fetches ahead": {"127.0.0.1:8082", []string{ua, "Sec-Fetch-Site: none", "Sec-Purpose: prefetch"}, true, true},
		"the same by an older browser":            {"127.0.0.1:8082", []string{ua, "Purpose: prefetch"}, true, true},
		"an image tag of another site": {
			"127.0.0.1:8082",
			[]string{ua, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Dest: image"},
			false,
			false,
		},
		"a link of another site": {
			"127.0.0.1:8082",
			[]string{ua, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-User: ?1"},
			false,
			false,
		},
		"a page at another port of this host":   {"localhost:8082", []string{ua, "Sec-Fetch-Site: same-site"}, false, false},
		"a fetch that may be read by the page":  {"localhost:8082", []string{ua, "Origin: https://evil.example"}, false, false},
		"a form of a page without origin":       {"localhost:8082", []string{ua, "Origin: null"}, false, false},
		"a page at another port, by its origin": {"localhost:8082", []string{ua, "Origin: http://localhost:3000"}, false, false},
		"an origin that is none":                {"localhost:8082", []string{ua, "Origin: ::"}, false, false},
		"two origins, one of them right": {
			"localhost:8082",
			[]string{ua, "Origin: http://localhost:8082", "Origin: https://evil.example"},
			false,
			false,
		},
		"a page of the worker itself": {
			"localhost:8082",
			[]string{ua, "Origin: http://localhost:8082", "Sec-Fetch-Site: same-origin"},
			true,
			false,
		},
		"the same behind a proxy with TLS":       {"connect.example.com", []string{ua, "Origin: https://connect.example.com"}, true, false},
		"an image tag over a plain network":      {"192.168.1.115:8082", []string{ua, "Referer: http://evil.example/"}, false, false},
		"the same from a page that hides itself": {"192.168.1.115:8082", []string{ua, "Accept: image/avif,image/webp,*/*;q=0.8"}, true, true},
		"a redirect of a page that hides itself": {"192.168.1.115:8082", []string{ua, "Upgrade-Insecure-Requests: 1"}, true, true},
		"a link on an older answer of the worker": {
			"192.168.1.115:8082",
			[]string{ua, "Referer: http://192.168.1.115:8082/getConnectors"},
			true,
			false,
		},
		"a page asks whether it may ask (OPTIONS)": {
			"localhost:8082",
			[]string{ua, "Origin: https://evil.example", "Access-Control-Request-Method: PUT"},
			false,
			false,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := request(tc.host, "127.0.0.1:40000", tc.header...)
			got := (&Guard{Open: true, Names: []string{"connect.example.com"}}).Check(r, time.Time{})
			if (got == nil) != tc.want ||
				got != nil && (got.Status != 403 || got.Reason != ReasonOrigin || !strings.Contains(got.Detail, "another origin")) {
				t.Errorf("got %+v, want it answered: %v", got, tc.want)
			}
			if unclear := Unclear(r); tc.want && (unclear != nil) != tc.unclear {
				t.Errorf("a change is refused by %+v, want it refused: %v", unclear, tc.unclear)
			}
		})
	}
}

// A page that came over the plain network can be anybody's, also one of the worker's own name.
func TestOverTLSAPageMustHaveComeOverTLS(t *testing.T) {
	for header, want := range map[string]bool{
		"Origin: https://localhost:8082": true, "Referer: https://localhost:8082/getConnectors": true,
		"Origin: http://localhost:8082": false, "Referer: http://localhost:8082/getConnectors": false, "Origin: https://localhost": false,
	} {
		r := request("localhost:8082", "127.0.0.1:40000", "User-Agent: "+browser, header)
		r.TLS = &tls.ConnectionState{}
		if got := (&Guard{}).Check(r, time.Time{}); (got == nil) != want || got != nil && got.Reason != ReasonOrigin {
			t.Errorf("%s: %+v", header, got)
		}
	}
}

func TestRefusalsAreShortAndOnOneLine(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for name, r := range map[string]*http.Request{
		"host":    request(long+"\n", "127.0.0.1:1"),
		"origin":  request("localhost", "127.0.0.1:1", "Origin: http://"+long),
		"referer": request("localhost", "127.0.0.1:1", "Referer: http://evil.example/?token="+long),
		"site":    request("localhost", "127.0.0.1:1", "Sec-Fetch-Site: "+long),
		"remote":  request("localhost", "10.0.0.9:1"),
	} {
		got := (&Guard{}).Check(r, time.Time{})
		if got == nil || len(got.Detail) > 400 || strings.ContainsAny(got.Detail, "\r\n") || strings.Contains(got.Detail, "token=") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
