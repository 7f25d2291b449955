package check

import (
	"errors"
	"fmt"

	"github.com/rocketmq-connect/operator/worker/states"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/rest/answer"
	"github.com/rocketmq-connect/operator/worker/rest/keep"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/store"
)

// Filled is a connector as a request wants it stored.
type Filled struct {
	// Write has the name, the state, and in one map the settings, the class and the number of tasks.
	Write store.Write
	found findings
}

// Refused reports whether it cannot be stored over what it was filled in from: a masked secret is missing there, or
// must not be kept, or the fields and the settings contradict each other.
func (f Filled) Refused() bool { return len(f.found.errs) > 0 }

// Fill turns a request into what is stored, with masked secrets filled in from before (nil: there is no such
// connector).
func (c *Checker) Fill(in restapi.Connector, before map[string]string) Filled {
	var f findings
	cfg, kept, missing := keep.Masked(in.Config, before)
	for _, key := range missing {
		f.add("config."+key, &keep.MissingError{Key: key})
	}
	f.add("class", setField(cfg, "class", in.Class, config.ClassKey, config.OldClassKey))
	if in.MaxTasks != 0 {
		f.add("maxTasks", setField(cfg, "maxTasks", fmt.Sprint(in.MaxTasks), config.MaxTasksKey, config.OldTasksKey))
	}
	if name, ok := cfg["name"]; ok {
		if name != in.Name {
			f.add("config.name", fmt.Errorf("name in config (%q) differs from the connector's name (%q): leave it out", name, in.Name))
		}
		delete(cfg, "name")
	}
	f.moved(c.moved(before, cfg, kept))
	return Filled{Write: store.Write{Name: in.Name, Config: cfg, State: states.Wanted(in.State)}, found: f}
}

// Check checks what was filled in, and answers as Config does.
func (c *Checker) Check(in Filled) (warnings []string, err error) {
	f, cfg := in.found, in.Write.Config
	checked := c.check(in.Write.Name, cfg)
	f.errs, f.warnings = append(f.errs, checked.errs...), checked.warnings
	if state := in.Write.State; state != "" && !state.Known() {
		f.add("state", StateError(string(state)))
	}
	return c.told(f, cfg)
}

// Validate says what Check would of the request, before being what is stored.
func (c *Checker) Validate(in restapi.Connector, before map[string]string) restapi.Validation {
	warnings, err := c.Check(c.Fill(in, before))
	out := restapi.Validation{Valid: err == nil, Warnings: warnings}
	var refused *restapi.Problem
	if errors.As(err, &refused) {
		out.Errors = refused.Errors
	}
	return out
}

// Kept returns a *restapi.Problem if after must not keep the values of the kept settings from before: they are secrets,
// and would go elsewhere.
func (c *Checker) Kept(before, after map[string]string, kept []string) error {
	var f findings
	if f.moved(c.moved(before, after, kept)); len(f.errs) > 0 {
		return answer.Invalid(f.errs)
	}
	return nil
}

// moved reports which of the stored values must not be kept by the config that comes after.
func (c *Checker) moved(before, after map[string]string, kept []string) []*keep.MovedError {
	was, is := keep.Config{Settings: before, Spec: c.Classes.Spec(before)}, keep.Config{Settings: after, Spec: c.Classes.Spec(after)}
	return keep.Check(was, is, kept)
}

// StateError says what a connector's state may be.
func StateError(state string) error {
	return fmt.Errorf("state must be Running, Paused or Stopped, not %q", state)
}

// setField puts the value of a field of its own into the config, unless the config says otherwise.
func setField(cfg map[string]string, field, value string, keys ...string) error {
	if value == "" {
		return nil
	}
	var err error
	for _, key := range keys {
		if v := cfg[key]; v != "" && v != value {
			err = fmt.Errorf("%s is %q but config has %s=%q: leave %s out of config", field, value, key, v, key)
		}
	}
	cfg[keys[0]] = value
	return err
}
