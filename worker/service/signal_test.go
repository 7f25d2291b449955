package service

import "testing"

func TestOneSignalLiesInAChannel(t *testing.T) {
	c := make(chan struct{}, 1)
	for range 2 {
		Signal(c)
		Signal(c)
		if len(c) != 1 {
			t.Errorf("%d lie in the channel", len(c))
		}
		<-c
	}
}
