package rig

import (
	"slices"
	"strings"
	"testing"
)

func TestEachTopologyHasItsMasters(t *testing.T) {
	cases := map[string]struct {
		nameServers, brokers int
		masters              []string
	}{
		Single:     {nameServers: 1, brokers: 1, masters: []string{"broker-a"}},
		Masters:    {nameServers: 2, brokers: 2, masters: []string{"broker-a", "broker-b"}},
		Replicated: {nameServers: 1, brokers: 2, masters: []string{"broker-a"}},
		Controller: {nameServers: 2, brokers: 2, masters: []string{"broker-a"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Named(name)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.NameServers) != tc.nameServers || len(got.Brokers) != tc.brokers || !slices.Equal(got.MasterNames(), tc.masters) {
				t.Errorf("got %+v, want %+v", got, tc)
			}
		})
	}
	if _, err := Named("ring"); err == nil || !strings.Contains(err.Error(), Masters) {
		t.Errorf("an unknown topology: got %v, want the known ones", err)
	}
}
