package storefold

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/rocketmq-connect/operator/worker/keyedlog/replica"
)

// Sheet is a part of a fold as it is kept in a local file, by connector.
type Sheet struct {
	// Collect gives the values by connector; what they point to never changes.
	Collect func() map[string]any
	// Records gives what a connector's part stands for, in the order to fold it.
	Records func(raw json.RawMessage) ([]replica.Record, error)
}

// ConnectorSheet is one value a connector, tombstones included.
func (f *Configs) ConnectorSheet() Sheet {
	return Sheet{
		Collect: func() map[string]any {
			out := map[string]any{}
			for _, v := range f.connectors {
				out[v.Name] = v
			}
			return out
		},
		Records: func(raw json.RawMessage) ([]replica.Record, error) {
			v := &connectorValue{}
			if err := json.Unmarshal(raw, v); err != nil {
				return nil, err
			}
			v.Republished = true
			return []replica.Record{recordOf(v)}, nil
		},
	}
}

// TaskSheet is the newest task set of each connector.
func (f *Configs) TaskSheet() Sheet {
	return Sheet{
		Collect: func() map[string]any {
			out := map[string]any{}
			for _, v := range f.tasks {
				out[v.Name] = v
			}
			return out
		},
		Records: func(raw json.RawMessage) ([]replica.Record, error) {
			v := &tasksValue{}
			if err := json.Unmarshal(raw, v); err != nil {
				return nil, err
			}
			v.Republished = true
			return []replica.Record{recordOf(v)}, nil
		},
	}
}

// progressPart is a connector's part of position.json and offset.json.
type progressPart struct {
	Reset     *resetValue      `json:"reset,omitempty"`
	Fences    []*fenceValue    `json:"fences,omitempty"`
	Positions []*positionValue `json:"positions,omitempty"`
}

// Sheet is all progress.
func (f *Progress) Sheet() Sheet {
	return Sheet{
		Collect: func() map[string]any {
			out := map[string]any{}
			for connector, l := range f.lineages {
				part := &progressPart{Reset: l.reset}
				for _, task := range slices.Sorted(maps.Keys(l.fences)) {
					part.Fences = append(part.Fences, l.fences[task])
				}
				for _, partition := range slices.Sorted(maps.Keys(l.values)) {
					part.Positions = append(part.Positions, l.values[partition])
				}
				out[connector] = part
			}
			return out
		},
		Records: progressRecords,
	}
}

func progressRecords(raw json.RawMessage) ([]replica.Record, error) {
	var part progressPart
	if err := json.Unmarshal(raw, &part); err != nil {
		return nil, err
	}
	var out []replica.Record
	for _, v := range part.Fences {
		if v != nil {
			v.Republished = true
			out = append(out, recordOf(v))
		}
	}
	if part.Reset != nil {
		part.Reset.Republished = true
		out = append(out, recordOf(part.Reset))
	}
	for _, v := range part.Positions {
		if v != nil {
			v.Republished = true
			out = append(out, recordOf(v))
		}
	}
	return out, nil
}
