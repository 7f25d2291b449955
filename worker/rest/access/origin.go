package access

import (
	"net/http"
	"net/url"
	"strings"
)

// foreign says by which header the request is one that a page of another origin had a browser make; empty: it is not.
// What is no browser sends none of them.
func foreign(r *http.Request) string {
	for _, site := range r.Header.Values("Sec-Fetch-Site") {
		if site != "same-origin" && site != "none" { // same-site is another port of this host
			return "Sec-Fetch-Site: " + clip(site)
		}
	}
	for _, name := range []string{"Origin", "Referer"} {
		for _, value := range r.Header.Values(name) {
			from, err := url.Parse(value)
			// Over TLS a page of this host that came without it is another's: anybody on the way can have made it. Without TLS
			// a proxy may have added it.
			if err != nil || from.Host == "" || !strings.EqualFold(from.Host, r.Host) || r.TLS != nil && from.Scheme != "https" {
				return name + ": " + clip(origin(from))
			}
		}
	}
	return ""
}

// origin is what of a URL is told: a path and its query may have anything in them.
func origin(u *url.URL) string {
	if u == nil || u.Host == "" {
		return "null"
	}
	return u.Scheme + "://" + u.Host
}

// Unclear returns why a GET that changes something is refused though Check let it pass: a browser that does not say
// from where may have been sent by any page, and one that fetches ahead was asked by nobody. Browsers say it to
// loopback addresses and over TLS; elsewhere an image tag with no-referrer looks like an address that somebody typed.
func Unclear(r *http.Request) *Refusal {
	h := r.Header
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Moz", "X-Purpose"} {
		if purpose := strings.Join(h.Values(name), ", "); len(h.Values(name)) > 0 {
			return forbidden(
				ReasonOrigin,
				"this GET changes something, and a browser sent it ahead (%s: %s): nothing was changed",
				name,
				clip(purpose),
			)
		}
	}
	if strings.Contains(h.Get("User-Agent"), "Mozilla/") &&
		len(h.Values("Sec-Fetch-Site"))+len(h.Values("Origin"))+len(h.Values("Referer")) == 0 {
		return forbidden(
			ReasonOrigin,
			"this GET changes something, and a browser does not say which page had it sent: use curl, or another client with a "+
				"User-Agent of its own",
		)
	}
	return nil
}
