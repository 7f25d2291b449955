// Package permission says what a broker that refuses access has against a request: who asks, or what it may. It is
// pure.
package permission

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// What the lines of RocketMQ say. 5.x:
//
//	User:orders has no permission to access Topic:orders-in from 10.0.0.1, no matched policies.
//
// 4.9, each after the name of an exception:
//
//	No default permission for topic:orders-in, org.apache.rocketmq.acl.plain.PlainPermissionManager.checkPerm(…)
//	Need admin permission for request code=17, but accessKey=orders is not
var (
	noPolicy     = regexp.MustCompile(`has no permission to access (\S+) from (\S+), (.*)`)
	noPermission = regexp.MustCompile(`No (?:default )?permission for (topic|group):([\w%|-]+)`)
	needsAdmin   = regexp.MustCompile(`Need admin permission for request code=(\d+)`)
)

// who says what is wrong with the credentials, by what the brokers say.
var who = []struct{ remark, text string }{
	{"username cannot be null", unsigned},
	{"No accessKey is configured", unsigned},
	{"is not found", unknown}, // User:orders is not found.
	{"No acl config for", unknown},
	{"check signature failed", wrongSecret},
	{"Check signature failed", wrongSecret},
	{"is disabled", "the user that accessKey names is disabled: enable it, or set another"},
}

const (
	unsigned    = "it takes signed requests only: set aclEnable=true with accessKey and secretKey, or credentialsDir"
	unknown     = "wrong accessKey: it knows no such user"
	wrongSecret = "wrong secretKey: the signature is not that of the user that accessKey names"
)

// Explain says what the refusal of a request means, and which permission is missing where that is the cause. It names
// keys of connect.conf. A remark of another kind is "".
func Explain(request int, remark string) string {
	if m := noPolicy.FindStringSubmatch(remark); m != nil {
		why := "no policy of its user allows that"
		if strings.Contains(m[3], "deny") {
			why = "a policy of its user denies that"
		}
		return fmt.Sprintf("accessKey needs the permission %s on %s from %s: %s", action(request, m[1]), m[1], m[2], why)
	}
	if m := noPermission.FindStringSubmatch(remark); m != nil {
		return fmt.Sprintf("accessKey needs the permission %s on %s %s (%sPerms)", strings.ToUpper(action(request, m[1])), m[1], m[2], m[1])
	}
	if m := needsAdmin.FindStringSubmatch(remark); m != nil {
		return fmt.Sprintf("accessKey needs admin: true for %s", purpose(m[1]))
	}
	for _, w := range who {
		if strings.Contains(remark, w.remark) {
			return w.text
		}
	}
	return ""
}

// action is what a request does to a resource, by its name in a policy. It is Sub for what reads, of groups too.
func action(request int, resource string) string {
	topic := strings.HasPrefix(strings.ToLower(resource), "topic")
	switch request {
	case remoting.SendMessageV2, remoting.SendBatch:
		return "Pub"
	case remoting.CreateTopic, remoting.CreateGroup:
		return "Create"
	case remoting.SearchOffset, remoting.MinOffset, remoting.MaxOffset, remoting.TopicConfig, remoting.BrokerConfig, remoting.AllGroups:
		return "Get"
	case remoting.RouteByTopic:
		if topic {
			return "Get"
		}
	}
	return "Sub"
}

// purpose says what a request is for that only administrators of a 4.9 broker may send.
func purpose(request string) string {
	switch code, _ := strconv.Atoi(request); code {
	case remoting.CreateTopic:
		return "creating topics; or create the topic beforehand"
	case remoting.CreateGroup:
		return "creating groups; or create the group beforehand and set autoCreateGroupEnable=false"
	}
	return "requests of type " + request
}

// Masked is a remark without the access key, where that stands by itself: topics may be named after their user.
func Masked(remark, accessKey string) string {
	if accessKey == "" {
		return remark
	}
	var b strings.Builder
	for rest := remark; ; {
		i := strings.Index(rest, accessKey)
		if i < 0 {
			b.WriteString(rest)
			return b.String()
		}
		end := i + len(accessKey)
		b.WriteString(rest[:i])
		if said := b.String(); (said != "" && named(said[len(said)-1])) || (end < len(rest) && named(rest[end])) {
			b.WriteString(accessKey)
		} else {
			b.WriteString("***")
		}
		rest = rest[end:]
	}
}

// named reports whether a character can be a part of a topic's name, or of a dotted one.
func named(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("%|-_", c) >= 0
}
