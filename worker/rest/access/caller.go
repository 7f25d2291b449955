package access

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// forwarded are the headers by which proxies say that the caller is somebody else.
var forwarded = []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"}

// OnThisMachine reports whether the caller is on the worker's own machine: it comes from a loopback address
// (127.0.0.0/8, ::1, or the former inside IPv6), or from the very address that it called. The kernel takes neither from
// a network. What a proxy on this machine passes on is not the machine's own.
func OnThisMachine(r *http.Request) bool {
	for _, name := range forwarded {
		if len(r.Header[name]) > 0 { // an empty one that the caller sent stands before the proxy's own
			return false
		}
	}
	remote, ok := address(r.RemoteAddr)
	if !ok {
		return false
	}
	if remote.IsLoopback() {
		return true
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if local == nil {
		return false
	}
	called, ok := address(local.String())
	return ok && called == remote && !called.IsUnspecified()
}

func address(hostPort string) (netip.Addr, bool) {
	at, err := netip.ParseAddrPort(hostPort)
	return at.Addr().Unmap().WithZone(""), err == nil
}

// named reports whether a Host header is one of the worker's. Any address is: a page cannot have a browser call an
// address by a name of its own and stay of one origin with it, which is what rebinding names is about.
func (g *Guard) named(hostPort string) bool {
	host := hostPort
	if h, _, err := net.SplitHostPort(hostPort); err == nil {
		host = h
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if at, err := netip.ParseAddr(host); err == nil {
		return !at.Unmap().IsUnspecified() // browsers take 0.0.0.0 for this machine, and not for a private address
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") { // no name server is asked for these
		return true
	}
	for _, name := range g.Names {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		if below, all := strings.CutPrefix(name, "*."); all && strings.HasSuffix(host, "."+below) || host == name && name != "" {
			return true
		}
	}
	return false
}
