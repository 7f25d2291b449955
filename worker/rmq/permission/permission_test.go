package permission

import (
	"strings"
	"testing"

	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// The remarks are those of 5.3.3 and 4.9.7.
func TestARefusalIsExplained(t *testing.T) {
	const line4 = "org.apache.rocketmq.acl.common.AclException: "
	const thrown = "org.apache.rocketmq.acl.plain.PlainPermissionManager.checkPerm(PlainPermissionManager.java:605)"
	cases := map[string]struct {
		request      int
		remark, want string
	}{
		"unsigned": {
			remoting.CreateTopic,
			"username cannot be null.",
			"it takes signed requests only: set aclEnable=true with accessKey and secretKey, or credentialsDir",
		},
		"unsigned, 4.9": {
			remoting.CreateTopic,
			line4 + "No accessKey is configured",
			"it takes signed requests only: set aclEnable=true with accessKey and secretKey, or credentialsDir",
		},
		"unknown user":      {remoting.CreateTopic, "User:*** is not found.", "wrong accessKey: it knows no such user"},
		"unknown user, 4.9": {remoting.CreateTopic, line4 + "No acl config for ***", "wrong accessKey: it knows no such user"},
		"other secret": {
			remoting.CreateTopic,
			"check signature failed.",
			"wrong secretKey: the signature is not that of the user that accessKey names",
		},
		"other secret, 4.9": {
			remoting.CreateTopic,
			line4 + "Check signature failed for accessKey=***",
			"wrong secretKey: the signature is not that of the user that accessKey names",
		},
		"disabled": {
			remoting.CreateTopic,
			"User:*** is disabled.",
			"the user that accessKey names is disabled: enable it, or set another",
		},
		"creating": {
			remoting.CreateTopic,
			"User:*** has no permission to access Topic:a from 10.0.0.1, no matched policies.",
			"accessKey needs the permission Create on Topic:a from 10.0.0.1: no policy of its user allows that",
		},
		"sending": {
			remoting.SendBatch,
			"User:*** has no permission to access Topic:a from ::1, the decision is deny.",
			"accessKey needs the permission Pub on Topic:a from ::1: a policy of its user denies that",
		},
		"pulling, the topic": {
			remoting.PullMessage,
			"User:*** has no permission to access Topic:a from 10.0.0.1, no matched policies.",
			"accessKey needs the permission Sub on Topic:a from 10.0.0.1: no policy of its user allows that",
		},
		"pulling, the group": {
			remoting.PullMessage,
			"User:*** has no permission to access Group:g from 10.0.0.1, no matched policies.",
			"accessKey needs the permission Sub on Group:g from 10.0.0.1: no policy of its user allows that",
		},
		"asking for the end": {
			remoting.MaxOffset,
			"User:*** has no permission to access Topic:a from 10.0.0.1, no matched policies.",
			"accessKey needs the permission Get on Topic:a from 10.0.0.1: no policy of its user allows that",
		},
		"committing": {
			remoting.CommitOffset,
			"User:*** has no permission to access Topic:g from 10.0.0.1, no matched policies.",
			"accessKey needs the permission Sub on Topic:g from 10.0.0.1: no policy of its user allows that",
		},
		"creating, 4.9": {
			remoting.CreateTopic,
			line4 + "Need admin permission for request code=17, but accessKey=*** is not",
			"accessKey needs admin: true for creating topics; or create the topic beforehand",
		},
		"a group, 4.9": {
			remoting.CreateGroup,
			line4 + "Need admin permission for request code=200, but accessKey=*** is not",
			"accessKey needs admin: true for creating groups; or create the group beforehand and set autoCreateGroupEnable=false",
		},
		"sending, 4.9": {
			remoting.SendMessageV2,
			line4 + "No default permission for topic:a, " + thrown,
			"accessKey needs the permission PUB on topic a (topicPerms)",
		},
		"pulling, 4.9": {
			remoting.PullMessage,
			line4 + "No permission for group:g, " + thrown,
			"accessKey needs the permission SUB on group g (groupPerms)",
		},
		"something else": {remoting.CreateTopic, "the broker is tired", ""},
		"nothing":        {remoting.CreateTopic, "", ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Explain(tc.request, tc.remark); got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

func TestTheAccessKeyIsMaskedWhereItStandsAlone(t *testing.T) {
	cases := map[string]struct{ remark, key, want string }{
		"no key": {"User: is not found.", "", "User: is not found."},
		"a user": {
			"User:orders has no permission to access Topic:orders-in from 10.0.0.1, no",
			"orders",
			"User:*** has no permission to access Topic:orders-in from 10.0.0.1, no",
		},
		"a topic of a name": {
			"User:orders has no permission to access Topic:orders from 10.0.0.1, no",
			"orders",
			"User:*** has no permission to access Topic:*** from 10.0.0.1, no",
		},
		"at the end":          {"Check signature failed for accessKey=theKey", "theKey", "Check signature failed for accessKey=***"},
		"twice, side by side": {"theKeytheKey theKey", "theKey", "theKeytheKey ***"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Masked(tc.remark, tc.key); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func FuzzMasked(f *testing.F) {
	f.Add("User:k is not found.", "k")
	f.Add("kkk k", "k")
	f.Fuzz(func(t *testing.T, remark, key string) {
		if key == "" || strings.Contains("*", key) {
			return
		}
		for _, word := range strings.FieldsFunc(Masked(remark, key), func(r rune) bool { return r == ':' || r == ' ' || r == '=' || r == '.' }) {
			if word == key {
				t.Errorf("%q shows %q", Masked(remark, key), key)
			}
		}
	})
}
