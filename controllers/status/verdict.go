// Package status turns what was observed into conditions and counts. It is pure: checks in order, the first that
// matches is the verdict.
package status

import (
	"strings"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
)

// Phase is what happens next if nobody does anything.
type Phase int

// Phases. Only one of the conditions Reconciling and Stalled can be there.
const (
	// Settled means that nothing is under way: neither Reconciling nor Stalled.
	Settled Phase = iota
	// Reconciling means that the object is expected to get better by itself.
	Reconciling
	// Stalled means that it is not.
	Stalled
)

// Verdict is what the conditions of an object are to say.
type Verdict struct {
	// Ready is the status of the condition Ready.
	Ready bool
	// Reason and Message are those of Ready.
	Reason, Message string
	Phase           Phase
	// PhaseReason is the reason of Reconciling or Stalled; empty: Reason.
	PhaseReason string
}

// Check looks at what was observed; matched says whether the verdict is its.
type Check[O any] func(observed O) (v Verdict, matched bool)

// Judge returns the verdict of the first check that matches; otherwise is the one if none does.
func Judge[O any](observed O, otherwise Verdict, checks ...Check[O]) Verdict {
	for _, check := range checks {
		if v, matched := check(observed); matched {
			return v
		}
	}
	return otherwise
}

// Set writes the verdict into the conditions. Transition times change only with a condition's status.
func (v Verdict) Set(conditions *[]metav1.Condition, generation int64) {
	message := Shorten(v.Message, v1alpha1.MaxConditionMessage)
	ready := metav1.ConditionFalse
	if v.Ready {
		ready = metav1.ConditionTrue
	}
	meta.SetStatusCondition(conditions, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: ready, Reason: v.Reason, Message: message, ObservedGeneration: generation,
	})
	for phase, conditionType := range map[Phase]string{
		Reconciling: v1alpha1.ConditionReconciling,
		Stalled:     v1alpha1.ConditionStalled,
	} {
		if phase != v.Phase {
			meta.RemoveStatusCondition(conditions, conditionType)
			continue
		}
		reason := v.PhaseReason
		if reason == "" {
			reason = v.Reason
		}
		meta.SetStatusCondition(conditions, metav1.Condition{
			Type: conditionType, Status: metav1.ConditionTrue, Reason: reason, Message: message, ObservedGeneration: generation,
		})
	}
}

// Shorten cuts s to at most limit characters, on one line, without what is not text.
func Shorten(s string, limit int) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit-1]) + "…"
}
