package config_test

import (
	"testing"

	"github.com/rocketmq-connect/operator/worker/config"
)

func TestEverySettingIsDescribed(t *testing.T) {
	for _, s := range config.Settings() {
		if s.Doc == "" || s.Form == "" {
			t.Errorf("%s has no text for the documents: doc %q, form %q", s.Name, s.Doc, s.Form)
		}
	}
}
