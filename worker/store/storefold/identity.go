package storefold

import (
	"cmp"
	"encoding/json"
	"time"

	"github.com/rocketmq-connect/operator/worker/keyedlog/replica"
)

// identityValue tells the cluster from every other one, whatever they are called. It is made once.
type identityValue struct {
	V  int    `json:"v"`
	ID string `json:"id"`
	// Topics are the cluster's internal topics: its log, then the stores'. None in what an older version made.
	Topics []string  `json:"topics,omitempty"`
	MadeAt time.Time `json:"madeAt"`
	// Republished marks a value that had been accepted before.
	Republished bool `json:"republished,omitempty"`
}

func (v *identityValue) key() string { return kindIdentity }

func (v *identityValue) valid(func(int64) bool) bool { return v.ID != "" && len(v.ID) <= maxText }

// applyIdentity compares and sets: the first one that was made wins. Of those that were made on two sides of a loss the
// older one does, in every reader.
func (f *Configs) applyIdentity(v *identityValue) replica.Verdict {
	held := f.identity
	switch {
	case held == nil:
	case v.ID == held.ID:
		return replica.Same
	case v.Republished && cmp.Or(v.MadeAt.Compare(held.MadeAt), cmp.Compare(v.ID, held.ID)) < 0:
	default:
		return replica.Refused
	}
	v.Republished = false
	f.identity = v
	return replica.Accepted
}

// Identity is the cluster's; empty until it is made.
func (f *Configs) Identity() string {
	if f.identity == nil {
		return ""
	}
	return f.identity.ID
}

// Topics are those that the cluster was made with; nil while that is not known. It must not be modified.
func (f *Configs) Topics() []string {
	if f.identity == nil {
		return nil
	}
	return f.identity.Topics
}

// Identify gives what to append for the cluster to have an identity: this one, unless somebody is faster. Nil if it has
// one.
func (f *Configs) Identify(id string, topics []string, now time.Time) *replica.Record {
	if f.identity != nil {
		return nil
	}
	r := recordOf(&identityValue{V: Version, ID: id, Topics: topics, MadeAt: now.UTC()})
	return &r
}

// IdentitySheet is the identity alone.
func (f *Configs) IdentitySheet() Sheet {
	return Sheet{
		Collect: func() map[string]any {
			if f.identity == nil {
				return map[string]any{}
			}
			return map[string]any{kindIdentity: f.identity}
		},
		Records: func(raw json.RawMessage) ([]replica.Record, error) {
			v := &identityValue{}
			if err := json.Unmarshal(raw, v); err != nil {
				return nil, err
			}
			v.Republished = true
			return []replica.Record{recordOf(v)}, nil
		},
	}
}
