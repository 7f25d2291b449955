package remoting

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"slices"
	"strings"
)

// Credentials sign requests. The zero value signs nothing.
type Credentials struct{ AccessKey, SecretKey, SecurityToken string }

// The extension fields of a signed request.
const (
	FieldAccessKey     = "AccessKey"
	FieldSecurityToken = "SecurityToken"
	FieldSignature     = "Signature"
)

// sign adds the fields that say who asks and prove it. It sorts and may reallocate c.Fields.
func (s *Credentials) sign(c *Command) {
	if s.AccessKey == "" {
		return
	}
	c.Fields = slices.DeleteFunc(c.Fields, func(f Field) bool {
		return f.Name == FieldAccessKey || f.Name == FieldSecurityToken || f.Name == FieldSignature
	})
	c.Fields = append(c.Fields, Field{FieldAccessKey, s.AccessKey})
	if s.SecurityToken != "" {
		c.Fields = append(c.Fields, Field{FieldSecurityToken, s.SecurityToken})
	}
	c.Fields = append(c.Fields, Field{FieldSignature, Signature(s.SecretKey, c.Fields, c.Body)})
}

// Signature is base64(HMAC-SHA1(secret, the values of all fields but Signature, sorted by name, then the body)). It
// sorts fields.
func Signature(secret string, fields []Field, body []byte) string {
	slices.SortFunc(fields, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	mac := hmac.New(sha1.New, []byte(secret))
	for i := range fields {
		if fields[i].Name != FieldSignature {
			mac.Write([]byte(fields[i].Value))
		}
	}
	mac.Write(body)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
